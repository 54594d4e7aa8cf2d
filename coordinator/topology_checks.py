"""What is wrong with a topology although each of its parts is well formed: names twice, addresses astray, dead ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from coordinator.topology_build import entries, mapping, parsed, selector
from coordinator.topology_schema import MOST_ERRORS, mark_of, named, nearest
from coordinator.topology_values import parse_address, parse_host, parse_network
from coordinator.topology_yaml import Document, Problem, Where, shown
from reachability.topology import Environment, Topology, in_networks

MOST_HINTS = 50  # looking for the nearest name takes its time; a file with more dead ends than this is another file
MOST_CANDIDATES = 1000


def inconsistencies(document: Document, topology: Topology) -> Iterator[Problem]:
    """Every inconsistency, at most `MOST_ERRORS`. The topology may be partial: what did not parse is not in it."""
    found = (
        problem
        for check in (_agents, _repeated_values, _ambiguous_members, _repeated_names, _ends)
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
        for agent, value in mapping(data.get("agents")).items():
            where: Where = ("environments", name, "agents", agent)
            if agent in first:
                line = topology.environments[first[agent]].agents[agent].mark.line
                earlier = f"agent {shown(agent)} exists already in {shown(first[agent])}, line {line}"
                yield _at(document, where, f"{earlier}; names are unique in the file", key=True)
            first.setdefault(agent, name)
            for index, address in parsed(mapping(value).get("addresses"), parse_address):
                text = str(address)
                place: Where = (*where, "addresses", index)
                if owners.setdefault(text, agent) != agent:
                    yield _at(document, place, f"address {text} is already that of agent {shown(owners[text])}")
                if _all_networks_parse(environment, data) and not in_networks(text, environment.networks):
                    yield _at(document, place, _outside(agent, text, environment))


def _all_networks_parse(environment: Environment, data: Mapping[str, Any]) -> bool:
    listed = data.get("networks")
    return isinstance(listed, list) and 0 < len(listed) == len(environment.networks)


def _outside(agent: str, address: str, environment: Environment) -> str:
    networks = ", ".join(str(network) for network in environment.networks[:4])
    more = ", …" if len(environment.networks) > 4 else ""  # noqa: PLR2004 - as many as a line takes
    return f"agent {shown(agent)} has {address}, outside the networks of {shown(environment.name)} ({networks}{more})"


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
            yield _at(document, (*where, index), f"'{value}' stands twice in {named(where, document.data)}")
        seen.add(value)


def _ambiguous_members(document: Document, topology: Topology) -> Iterator[Problem]:
    """`prod.x` must mean one thing."""
    for environment in topology.environments.values():
        for name in environment.services:
            if name in environment.agents:
                where: Where = ("environments", environment.name, "services", name)
                message = (
                    f"{shown(environment.name)} has an agent and a service {shown(name)}; a path could mean either"
                )
                yield _at(document, where, message, key=True)


def _repeated_names(document: Document, topology: Topology) -> Iterator[Problem]:
    del topology
    for kind, key, noun in (("paths", "name", "path"), ("waivers", "id", "waiver")):
        first: dict[str, int] = {}
        for index, entry in entries(mapping(document.data).get(kind)):
            name = entry.get(key)
            if not isinstance(name, str):
                continue
            if name in first:
                yield _at(document, (kind, index, key), f"{noun} {shown(name)} exists already, line {first[name]}")
            first.setdefault(name, mark_of(document, (kind, index, key)).line)


def _ends(document: Document, topology: Topology) -> Iterator[Problem]:
    """Paths and waivers begin and end somewhere."""
    hints = MOST_HINTS
    for kind in ("paths", "waivers"):
        for index, entry in entries(mapping(document.data).get(kind)):
            for key, verb in (("from", "comes from"), ("to", "goes to")):
                text = entry.get(key)
                if not isinstance(text, str):
                    continue
                try:
                    selector(text, topology.environments)
                except LookupError:
                    hint = nearest(text, list(_candidates(text, topology))) if hints > 0 else ""
                    hints -= 1
                    name = named((kind, index), document.data)
                    yield _at(document, (kind, index, key), f"{name} {verb} {shown(text)}, which does not exist{hint}")
                except ValueError:
                    continue  # the schema's format check has said so


def _candidates(text: str, topology: Topology) -> Iterable[str]:
    """The ends that exist: of the environment that is named, where there is one."""
    environment, dot, _ = text.partition(".")
    if not dot:
        return islice(topology.environments, MOST_CANDIDATES)
    around = (
        [topology.environments[environment]] if environment in topology.environments else topology.environments.values()
    )
    return islice((f"{e.name}.{member}" for e in around for member in (*e.agents, *e.services)), MOST_CANDIDATES)
