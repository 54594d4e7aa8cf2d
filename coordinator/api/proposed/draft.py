"""`topology draft`: a topology of what the estate was observed to offer and to use, each entry of it for a person to review."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aiohttp import web

from coordinator.api.errors import as_json, encoded
from coordinator.api.report import Snapshot, snapshot
from coordinator.api.responses.report import Drafted
from coordinator.api.responses.status import TopologyFile
from coordinator.json_types import iso
from coordinator.state.estate import Estate
from coordinator.topology.write import Place, written
from reachability.compare import Cell, key_of, result_of
from reachability.coverage import coverage, not_tested, total, untested
from reachability.fold import Region
from reachability.matrix import CellKey, Judged
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.topology import Path, PortSpec, Selector, Service, Topology
from reachability.vocabulary import Declared, Protocol, Reachability, Result, State

MOST_SEEN, MOST_PAIRS = 6, 20  # lines of comment of an entry; of the header
_REVIEW = "REVIEW"


@dataclass(slots=True)
class _Draft:
    """A topology in the making, and what is to be said of its entries."""

    topology: Topology
    notes: dict[Place, Sequence[str]] = field(default_factory=dict)
    review: int = 0


async def answered(_: web.Request, estate: Estate) -> web.Response:
    """`GET /api/v1/draft`."""
    taken = snapshot(estate)
    return as_json(await asyncio.to_thread(lambda: encoded(drafted(taken))))


def drafted(taken: Snapshot) -> Drafted:
    """What is declared as it stands, and what is not and was observed: services that answer, paths that cross."""
    draft = _Draft(taken.topology)
    fresh = [cell for cell in taken.cells if cell.judged and cell.judged.round and cell.result is not Result.STALE]
    crossed = [(cell, cell.judged) for cell in fresh if cell.judged and _crosses(taken.topology, cell, cell.judged)]
    _add_services(draft, taken, fresh)
    _note_declared(draft, taken, crossed)
    _add_paths(draft, taken, [(cell, judged) for cell, judged in crossed if not (cell.path or cell.waiver)])
    text = written(draft.topology, list(_header(draft, taken)), draft.notes)
    return Drafted(
        topology=text,
        review=draft.review,
        under=TopologyFile(file=taken.topology.file, digest=taken.topology.digest),
        made=iso(taken.at),
    )


def _crosses(topology: Topology, cell: Cell, judged: Judged) -> bool:
    """Whether it would fail where no path declares it."""
    require = topology.environments[cell.key.destination].require
    return result_of(Declared.DENIED, require, judged.evidence, judged.verdict) is Result.FAIL


# -- what is offered ------------------------------------------------------------------------------------------------


def _add_services(draft: _Draft, taken: Snapshot, cells: Iterable[Cell]) -> None:
    """Whatever listens and no service declares, a service for each host."""
    targets = {key_of(target): target for target in taken.plan}
    hosts: dict[tuple[str, str], dict[Protocol, PortSet]] = {}
    seen: dict[tuple[str, str], dict[str, Judged]] = {}
    for cell in cells:
        judged, target = cell.judged, targets.get(cell.key)
        if judged is None or target is None or cell.key.protocol is Protocol.ICMP:
            continue
        ports, who = cell.ports - target.service_ports, _heard_by(cell, judged, target)
        if who and ports:
            place = (cell.key.destination, cell.key.address)
            held = hosts.setdefault(place, {})
            held[cell.key.protocol] = held.get(cell.key.protocol, PortSet()) | ports
            named = f"{cell.key.protocol}/{text_of(ports)}"
            newest = seen.setdefault(place, {}).setdefault(f"{named} {who}", judged)
            if judged.observed_at > newest.observed_at:
                seen[place][f"{named} {who}"] = judged
    environments = dict(draft.topology.environments)
    for (name, address), found in hosts.items():
        environment = environments[name]
        taken_names = {*environment.services, *environment.agents}
        service = Service(
            _free(f"seen-{re.sub('[^a-z0-9]+', '-', address.lower())[:40]}", taken_names),
            (address,),
            PortSpec(tcp=found.get(Protocol.TCP, PortSet()), udp=found.get(Protocol.UDP, PortSet())),
        )
        environments[name] = replace(environment, services={**environment.services, service.name: service})
        lines = [f"{what}, {_when(judged)}" for what, judged in seen[name, address].items()]
        draft.notes["services", name, service.name] = [f"{_REVIEW}: nobody declared this service.", *_some(lines)]
        draft.review += 1
    draft.topology = replace(draft.topology, environments=environments)


def _heard_by(cell: Cell, judged: Judged, target: PlanTarget) -> str:
    """Who knows that something listens there; "" where nothing shows it."""
    evidence = judged.evidence
    if evidence.bound:
        return f"has a socket on {target.witness}"
    if evidence.inside is State.OPEN:
        return f"answered {evidence.inside_by} inside"
    if evidence.state is State.OPEN and judged.verdict.reachability is Reachability.REACHABLE:
        return f"answered {cell.key.agent}"
    return ""


# -- what is used ---------------------------------------------------------------------------------------------------


def _note_declared(draft: _Draft, taken: Snapshot, crossed: Iterable[tuple[Cell, Judged]]) -> None:
    """What is declared stays, and says whether anybody was seen to use it."""
    used: dict[Place, list[str]] = {}
    for cell, judged in crossed:
        if cell.path is not None:
            used.setdefault(("paths", cell.path.name), []).append(_seen(cell, judged))
        elif cell.waiver is not None:
            used.setdefault(("waivers", cell.waiver.id), []).append(_seen(cell, judged))
    entries = [(("paths", path.name), path.mark.line) for path in taken.topology.paths]
    entries += [(("waivers", waiver.id), waiver.mark.line) for waiver in taken.topology.waivers]
    for place, line in entries:
        lines = used.get(place, [])
        said = "and was observed to work:" if lines else "and nothing was observed to use it."
        draft.notes[place] = [f"{_REVIEW}: it is declared at {taken.topology.file}:{line}, {said}", *_some(lines)]
        draft.review += 1


def _add_paths(draft: _Draft, taken: Snapshot, crossed: Iterable[tuple[Cell, Judged]]) -> None:
    """A path for whatever crosses undeclared: from the agent that saw it, to what it saw, and no wider."""
    names = {path.name for path in draft.topology.paths}
    whole = _hosts_of_services(taken.plan)
    groups: dict[tuple[str, str, str, str], list[tuple[Cell, Judged]]] = {}
    for cell, judged in crossed:
        ends = (cell.source_environment, cell.key.agent, cell.key.destination)
        hosts = whole.get((cell.key.agent, cell.key.destination, cell.service or ""), frozenset())
        member = cell.service if cell.service and hosts == {cell.key.address} else cell.key.address
        groups.setdefault((*ends, member), []).append((cell, judged))
    paths = []
    for (source, agent, destination, member), found in groups.items():
        name = _free(f"review-{agent[:20]}-to-{destination[:12]}-{re.sub('[^a-z0-9]+', '-', member)[:16]}", names)
        names.add(name)
        start, end = Selector(f"{source}.{agent}", source, agent), Selector(f"{destination}.{member}", destination)
        paths.append(Path(name, start, end, _spec(found), justification="observed, and not reviewed yet"))
        lines = [_seen(cell, judged) for cell, judged in found]
        ids = sorted({one.id for one in taken.findings if one.live and _explains(one.regions, found)})
        known = f" ({', '.join(ids)})" if ids else ""
        draft.notes["paths", name] = [
            f"{_REVIEW}: nobody declared this{known}; take it out if it should not be:",
            *_some(lines),
        ]
        draft.review += 1
    draft.topology = replace(draft.topology, paths=(*draft.topology.paths, *paths))


def _hosts_of_services(plan: Iterable[PlanTarget]) -> Mapping[tuple[str, str, str], frozenset[str]]:
    """By agent, environment and service: its addresses. A path to a service speaks of all of them."""
    hosts: dict[tuple[str, str, str], set[str]] = {}
    for target in plan:
        for service, _ in target.services:
            hosts.setdefault((target.agent, target.destination, service), set()).add(target.address)
    return {key: frozenset(found) for key, found in hosts.items()}


def _spec(found: Iterable[tuple[Cell, Judged]]) -> PortSpec:
    spec = PortSpec()
    for cell, _ in found:
        match cell.key.protocol:
            case Protocol.TCP:
                spec |= PortSpec(tcp=cell.ports)
            case Protocol.UDP:
                spec |= PortSpec(udp=cell.ports)
            case Protocol.ICMP:
                spec |= PortSpec(icmp=True)
    return spec


def _explains(regions: Iterable[Region], found: Iterable[tuple[Cell, Judged]]) -> bool:
    ports: dict[CellKey, PortSet] = {}
    for cell, _ in found:
        ports[cell.key] = ports.get(cell.key, PortSet()) | cell.ports
    return any(region.ports & ports.get(region.key, PortSet()) for region in regions)


# -- what is said ---------------------------------------------------------------------------------------------------


def _seen(cell: Cell, judged: Judged) -> str:
    ports = text_of(cell.ports)
    what = f"{cell.key.protocol}/{ports}" if ports else cell.key.protocol.value
    verdict = judged.verdict
    who = f"{cell.key.agent} {cell.key.source_address}".strip()
    proof = f"{verdict.reachability} ({judged.evidence.reason}, {verdict.proof}, row {verdict.row})"
    return f"{who} -> {cell.key.address} {what}: {proof}, {_when(judged)}"


def _when(judged: Judged) -> str:
    return f"{_stamp(judged.observed_at)} in round {judged.round}"


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - MOST_SEEN} more"] if len(lines) > MOST_SEEN else []
    return [f"  {line}" for line in (*lines[:MOST_SEEN], *more)]


def _free(name: str, taken: Iterable[str]) -> str:
    names = set(taken)
    number, found = 1, name.rstrip("-")
    while found in names:
        number += 1
        found = f"{name.rstrip('-')}-{number}"
    return found


def _header(draft: _Draft, taken: Snapshot) -> Iterator[str]:
    topology = taken.topology
    yield f"A draft by `segwatch topology draft` of {_stamp(taken.at)}, from what was observed under {topology.file}"
    yield f"(SHA-256 {topology.digest[:12]}…). {draft.review} entries say {_REVIEW}: one that stays allows what it names."
    yield "Take out what should not be, and say who answers for the rest, before this comes into force."
    yield ""
    yield "What it could not see:"
    yield from (f"  - {line}" for line in _unseen(taken))


def _unseen(taken: Snapshot) -> Iterator[str]:
    topology, whole = taken.topology, total(taken.cells)
    yield "who does use a path: probes show what is open to an agent's host, not what is sent there"
    yield "hosts that no service and no agent of the topology in force names"
    if whole.proven < whole.required:
        yield f"{whole.required - whole.proven:,} of {whole.required:,} required cells, which are not proven:"
        short = [entry for entry in coverage(taken.cells) if entry.proven < entry.required]
        for entry in short[:MOST_PAIRS]:
            yield f"  {entry.source} -> {entry.destination}: {entry.required - entry.proven:,} of {entry.required:,}"
        if len(short) > MOST_PAIRS:
            yield f"  and {len(short) - MOST_PAIRS} more pairs: segwatch coverage"
    if whole.beyond_proof:
        yield f"{whole.beyond_proof:,} UDP cells that are silent on hosts without an agent"
    for source, destination in untested(topology, taken.cells):
        yield f"anything from {source} to {destination}: the plan has no cell of it"
    for environment in topology.environments.values():
        if not environment.agents:
            yield f"anything that {environment.name} sends: it has no agent"
        for service in environment.services.values():
            if not service.sweep:
                yield f"other ports of {environment.name}.{service.name}: it is not swept (`sweep: false`)"
    if not topology.probing.sweep_ports:
        yield "ports that are neither a service's nor the catalogue's: the topology in force has no sweep"
    names = ", ".join(name.upper() for name in not_tested(topology))
    yield f"protocols that no probe tries: {names}, and ICMP other than echo"
