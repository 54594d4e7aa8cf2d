"""What is wrong with a topology although each of its parts is well formed: names twice, addresses astray, dead ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from coordinator.topology.build import entries, mapping, parsed, selector
from coordinator.topology.document import Document, Problem, Where, shown
from coordinator.topology.scalars import is_range, parse_address, parse_host, parse_network
from coordinator.topology.schema import MOST_ERRORS, mark_of, named, nearest
from reachability.ranges import AmbiguousRangeError, Owners
from reachability.topology import Address, Environment, Network, Topology, is_wide

MOST_HINTS = 50  # looking for the nearest name takes its time; a file with more dead ends than this is the wrong file
MOST_CANDIDATES = 1000
SOME = 4  # as many as a line takes


def inconsistencies(document: Document, topology: Topology) -> Iterator[Problem]:
    """Every inconsistency, at most `MOST_ERRORS`. The topology may be partial: what did not parse is not in it."""
    found = (
        problem
        for check in (_agents, _wide, _repeated_values, _ambiguous_members, _repeated_names, _ends)
        for problem in check(document, topology)
    )
    return islice(found, MOST_ERRORS)


def _at(document: Document, where: Where, message: str, *, key: bool = False) -> Problem:
    mark = mark_of(document, where, key=key)
    return Problem(mark.line, mark.column, message)


def _environments(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in mapping(mapping(document.data).get("environments")).items():
        yield name, mapping(value)


def _agents(document: Document, topology: Topology) -> Iterator[Problem]:
    """Agent names are unique in the file, their addresses in their environment and inside its networks."""
    first: dict[str, str] = {}
    for name, data in _environments(document):
        environment = topology.environments[name]
        owners: dict[str, str] = {}
        whole, inside = _all_networks_parse(environment, data), within(environment.networks)
        for agent, value in mapping(data.get("agents")).items():
            where: Where = ("environments", name, "agents", agent)
            if agent in first:
                line = topology.environments[first[agent]].agents[agent].mark.line
                earlier = f"agent {shown(agent)} exists already in {shown(first[agent])}, line {line}"
                yield _at(document, where, f"{earlier}; names are unique in the file: rename one", key=True)
            first.setdefault(agent, name)
            for index, address in parsed(mapping(value).get("addresses"), parse_address):
                text = str(address)
                place: Where = (*where, "addresses", index)
                if owners.setdefault(text, agent) != agent:
                    owner = shown(owners[text])
                    yield _at(document, place, f"address {text} is already that of agent {owner}; give each its own")
                if whole and not inside(address):
                    yield _at(document, place, _outside(agent, text, environment))


def _all_networks_parse(environment: Environment, data: Mapping[str, Any]) -> bool:
    listed = data.get("networks")
    return isinstance(listed, list) and 0 < len(listed) == len(environment.networks)


def within(networks: Iterable[Network]) -> Callable[[Address], bool]:
    """Whether an address is in one of the networks; a look-up for each prefix length, however many networks."""
    known = {(n.version, n.prefixlen, int(n.network_address) >> (n.max_prefixlen - n.prefixlen)) for n in networks}
    lengths = {(version, length) for version, length, _ in known}

    def inside(address: Address) -> bool:
        return any(
            (version, length, int(address) >> (address.max_prefixlen - length)) in known
            for version, length in lengths
            if version == address.version
        )

    return inside


def _outside(agent: str, address: str, environment: Environment) -> str:
    networks = ", ".join(str(network) for network in environment.networks[:SOME])
    more = ", …" if len(environment.networks) > SOME else ""
    where = f"outside the networks of {shown(environment.name)} ({networks}{more})"
    return f"agent {shown(agent)} has {address}, {where}; correct it, or add its network"


def _wide(document: Document, topology: Topology) -> Iterator[Problem]:
    """Agents may probe what is in the networks of the file: one of half the Internet is meant on purpose, or not at all."""
    del topology
    for name, data in _environments(document):
        for index, network in parsed(data.get("networks"), parse_network):
            if is_wide(network) and data.get("allow_wide") is not True:
                most = "/8" if network.version == 4 else "/32"  # noqa: PLR2004 - IPv4
                meant = f"write the networks that {shown(name)} has, or 'allow_wide: true' beside them"
                yield _at(
                    document, ("environments", name, "networks", index),
                    f"network {network} is wider than {most}, and agents may probe all of it; {meant}",
                )  # fmt: skip


def _repeated_values(document: Document, topology: Topology) -> Iterator[Problem]:
    """The same network, address or host twice in one list, however it is written."""
    del topology
    for name, data in _environments(document):
        around: Where = ("environments", name)
        yield from _repeated(document, (*around, "networks"), data.get("networks"), parse_network)
        for agent, value in mapping(data.get("agents")).items():
            listed = mapping(value).get("addresses")
            yield from _repeated(document, (*around, "agents", agent, "addresses"), listed, parse_address)
        for service, value in mapping(data.get("services")).items():
            yield from _repeated(
                document, (*around, "services", service, "hosts"), mapping(value).get("hosts"), parse_host
            )


def _repeated(document: Document, where: Where, listed: Any, parse: Callable[[str], Hashable]) -> Iterator[Problem]:
    seen: set[Hashable] = set()
    for index, value in parsed(listed, parse):
        if value in seen:
            yield _at(
                document, (*where, index), f"'{value}' appears twice in {named(where, document.data)}; take one out"
            )
        seen.add(value)


def _ambiguous_members(document: Document, topology: Topology) -> Iterator[Problem]:
    """`prod.x` must mean one thing."""
    for environment in topology.environments.values():
        for name in environment.services:
            if name in environment.agents:
                where: Where = ("environments", environment.name, "services", name)
                both = f"{shown(environment.name)} has an agent and a service {shown(name)}"
                yield _at(document, where, f"{both}; a path could mean either: rename one", key=True)


def _repeated_names(document: Document, topology: Topology) -> Iterator[Problem]:
    del topology
    for kind, key, noun in (("paths", "name", "path"), ("waivers", "id", "waiver")):
        first: dict[str, int] = {}
        for index, entry in entries(mapping(document.data).get(kind)):
            name = entry.get(key)
            if not isinstance(name, str):
                continue
            if name in first:
                message = f"{noun} {shown(name)} exists already, line {first[name]}; rename one"
                yield _at(document, (kind, index, key), message)
            first.setdefault(name, mark_of(document, (kind, index, key)).line)


def _ends(document: Document, topology: Topology) -> Iterator[Problem]:
    """Paths and waivers begin and end somewhere."""
    hints, owners = MOST_HINTS, Owners(topology.environments.values())
    for kind in ("paths", "waivers"):
        for index, entry in entries(mapping(document.data).get(kind)):
            for key, verb in (("from", "comes from"), ("to", "goes to")):
                text = entry.get(key)
                if not isinstance(text, str):
                    continue
                try:
                    selector(text, topology.environments, owners)
                except AmbiguousRangeError as error:
                    name = named((kind, index), document.data)
                    yield _at(document, (kind, index, key), f"{name} {verb} {shown(text)}, {_whose(text, error)}")
                except LookupError:
                    hint = _hint(text, topology) if hints > 0 else ""
                    hints -= 1
                    name = named((kind, index), document.data)
                    yield _at(document, (kind, index, key), f"{name} {verb} {shown(text)}, which does not exist{hint}")
                except ValueError:
                    continue  # the schema's format check has said so


def _whose(text: str, error: AmbiguousRangeError) -> str:
    some = error.environments[:SOME]
    owners = " or of ".join(shown(name) for name in some)
    choice = " or ".join(f"{name}.{text}" for name in some)
    return f"which may be that of {owners}: they have the same network; write {choice}"


def _hint(text: str, topology: Topology) -> str:
    known = list(_candidates(text, topology))
    some = ", ".join(known[:SOME])
    return nearest(text, known) or (f"; there is {some}{', …' if len(known) > SOME else ''}" if known else "")


def _candidates(text: str, topology: Topology) -> Iterable[str]:
    """The ends that exist: of the environment that is named, where there is one."""
    environment, dot, member = text.partition(".")
    if is_range(member):
        return islice((f"{name}.{member}" for name in topology.environments), MOST_CANDIDATES)
    if not dot:
        return islice(topology.environments, MOST_CANDIDATES)
    around = (
        [topology.environments[environment]] if environment in topology.environments else topology.environments.values()
    )
    return islice((f"{e.name}.{member}" for e in around for member in (*e.agents, *e.services)), MOST_CANDIDATES)
