"""From a document's plain values to a `Topology`: normalised, every part with its place.

What does not parse is left out, not guessed: the checks have said so, and a topology with errors is never handed on.
It can still be looked at for further errors, so that one run shows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from coordinator.topology.document import Document, Where
from coordinator.topology.scalars import (
    parse_address,
    parse_duration,
    parse_end,
    parse_host,
    parse_instant,
    parse_network,
    parse_ports,
    parse_spread,
)
from coordinator.topology.schema import mark_of
from reachability.ranges import Owners
from reachability.topology import (
    Blackout,
    DeclaredAgent,
    Environment,
    Mark,
    Path,
    PortSpec,
    Probing,
    Selector,
    Service,
    Topology,
    Waiver,
)
from reachability.vocabulary import Declared, Require, Sensitivity

T = TypeVar("T")
DEFAULTS = Probing()


def build(document: Document, file: str, digest: str) -> Topology:
    """The topology as far as it can be read."""
    data = mapping(document.data)
    environments = {
        name: _environment(document, name, mapping(value)) for name, value in mapping(data.get("environments")).items()
    }
    owners = Owners(environments.values())

    def end(text: str) -> Selector:
        return selector(text, environments, owners)

    paths = (_path(document, end, index, entry) for index, entry in entries(data.get("paths")))
    waivers = (_waiver(document, end, index, entry) for index, entry in entries(data.get("waivers")))
    return Topology(
        environments=environments,
        paths=tuple(path for path in paths if path is not None),
        waivers=tuple(waiver for waiver in waivers if waiver is not None),
        probing=_probing(document, mapping(data.get("probing"))),
        file=file,
        digest=digest,
    )


def selector(text: str, environments: Mapping[str, Environment], owners: Owners) -> Selector:
    """One end of a path; LookupError when it is nowhere, ValueError when it is not an end at all.

    AmbiguousRangeError, a LookupError, where a range may be that of several environments.
    """
    name, member = parse_end(text)
    if not name:
        assert not isinstance(member, str)
        return Selector(str(member), environment=owners.of(member), network=member)
    environment = environments[name]
    match member:
        case "":
            return Selector(text, environment=name)
        case str() if member in environment.agents:
            return Selector(text, environment=name, agent=member)
        case str():
            return Selector(text, environment=name, service=environment.services[member].name)
        case _:
            return Selector(f"{name}.{member}", environment=name, network=member)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The mappings of a list, with their places in it."""
    for index, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield index, item


def parsed(value: Any, parse: Callable[[str], T]) -> Iterator[tuple[int, T]]:
    """What can be parsed of a list of texts, with its places in it."""
    for index, item in enumerate(value if isinstance(value, list) else []):
        found = _maybe(item, parse)
        if found is not None:
            yield index, found


def _maybe(value: Any, parse: Callable[[str], T]) -> T | None:
    try:
        return parse(value) if isinstance(value, str) else None
    except (ValueError, LookupError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _environment(document: Document, name: str, data: Mapping[str, Any]) -> Environment:
    where: Where = ("environments", name)
    return Environment(
        name=name,
        networks=tuple(network for _, network in parsed(data.get("networks"), parse_network)),
        agents={
            agent: DeclaredAgent(
                agent,
                tuple(str(address) for _, address in parsed(mapping(value).get("addresses"), parse_address)),
                _mark(document, (*where, "agents", agent)),
            )
            for agent, value in mapping(data.get("agents")).items()
        },
        services={
            service: _service(service, mapping(value), _mark(document, (*where, "services", service)))
            for service, value in mapping(data.get("services")).items()
        },
        sensitivity=_maybe(data.get("sensitivity"), Sensitivity) or Sensitivity.MEDIUM,
        require=_maybe(data.get("require"), Require) or Require.NO_SESSION,
        mark=_mark(document, where),
    )


def _service(name: str, data: Mapping[str, Any], mark: Mark) -> Service:
    return Service(
        name=name,
        hosts=tuple(host for _, host in parsed(data.get("hosts"), parse_host)),
        ports=_ports(data.get("ports")) or PortSpec(),
        kind=_text(data.get("kind")),
        holds=tuple(item for _, item in parsed(data.get("holds"), str)),
        sweep=data.get("sweep") is not False,
        mark=mark,
    )


def _ports(value: Any) -> PortSpec | None:
    if not isinstance(value, list):
        return None
    return reduce(or_, (spec for _, spec in parsed(value, parse_ports)), PortSpec())


def _path(document: Document, end: Callable[[str], Selector], index: int, data: Mapping[str, Any]) -> Path | None:
    source = _maybe(data.get("from"), end)
    destination = _maybe(data.get("to"), end)
    if source is None or destination is None:
        return None
    return Path(
        name=_text(data.get("name")),
        source=source,
        destination=destination,
        ports=_ports(data.get("ports")),
        expect=_maybe(data.get("expect"), Declared) or Declared.ALLOWED,
        owner=_text(data.get("owner")),
        justification=_text(data.get("justification")),
        mark=mark_of(document, ("paths", index)),
    )


def _waiver(document: Document, end: Callable[[str], Selector], index: int, data: Mapping[str, Any]) -> Waiver | None:
    source = _maybe(data.get("from"), end)
    destination = _maybe(data.get("to"), end)
    expires = _maybe(data.get("expires"), parse_instant)
    if source is None or destination is None or expires is None:
        return None
    return Waiver(
        id=_text(data.get("id")),
        source=source,
        destination=destination,
        ports=_ports(data.get("ports")),
        owner=_text(data.get("owner")),
        justification=_text(data.get("justification")),
        expires=expires,
        mark=mark_of(document, ("waivers", index)),
    )


def _probing(document: Document, data: Mapping[str, Any]) -> Probing:
    sweep = mapping(data.get("sweep"))
    blackouts = (
        Blackout(
            _text(entry.get("cron")),
            _maybe(entry.get("for"), parse_duration) or 0.0,
            _zone(entry),
            mark_of(document, ("probing", "blackout", index)),
        )
        for index, entry in entries(data.get("blackout"))
    )
    return Probing(
        every_s=_maybe(data.get("every"), parse_duration) or DEFAULTS.every_s,
        sweep_every_s=_maybe(sweep.get("every"), parse_duration),
        sweep_ports=_ports(sweep.get("ports")) or PortSpec(),
        rate_pps=_whole(data.get("rate_pps"), DEFAULTS.rate_pps),
        flows=_whole(data.get("flows"), DEFAULTS.flows),
        spread_s=_maybe(data.get("spread"), parse_spread) or DEFAULTS.spread_s,
        blackout=tuple(blackouts),
        confirm=_whole(data.get("confirm"), DEFAULTS.confirm),
    )


def _zone(data: Mapping[str, Any]) -> str:
    return _text(data.get("timezone")) or "UTC"


def _whole(value: Any, default: int) -> int:
    """JSON Schema takes 2.0 for a whole number; so does this."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return int(value) if is_whole else default


def _mark(document: Document, where: Where) -> Mark:
    """Where a named part begins, at its key, and the line on which it ends."""
    key, value = mark_of(document, where, key=True), mark_of(document, where)
    return Mark(key.line, key.column, max(key.end_line, value.end_line))
