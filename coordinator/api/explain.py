"""What `explain` answers: what was declared, sent, seen and controlled, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from coordinator.api.agents import names_seen
from coordinator.api.declared import declared, remedy, says_most
from coordinator.api.responses import estate, packets, proof
from coordinator.api.views import cell_body, finding_body
from coordinator.json_types import Body, iso
from coordinator.packets.exchanges import Exchanges
from coordinator.state.estate import Estate
from reachability.advice import ROWS
from reachability.compare import Cell, key_of
from reachability.finding import Event, Finding
from reachability.limits import Limits, limits
from reachability.matrix import Judged
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.situation import Situation
from reachability.verdict import Evidence
from reachability.vocabulary import Protocol


class NothingToExplainError(LookupError):
    """No cell of the plan is the one asked for; the text says what is wrong and what there is."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The cell that an explanation is about. `ports`: those of it that were asked for."""

    cell: Cell
    ports: PortSet
    target: PlanTarget | None  # None when it has left the plan meanwhile


def of_finding(plan: Iterable[PlanTarget], cells: Iterable[Cell], finding: Finding) -> Shown | None:
    """The cell of a finding that says most; None when none of it is in the plan any more."""
    regions = {region.key: region.ports for region in finding.regions}
    mine = [cell for cell in cells if cell.key in regions and cell.ports & regions[cell.key]]
    if not mine:
        return None
    cell = min(mine, key=says_most)
    return _shown(plan, cell, cell.ports & regions[cell.key])


def find_cell(plan: Sequence[PlanTarget], cells: Sequence[Cell], asked: tuple[str, str, str]) -> Shown:
    """The cell that a person asks for.

    Args:
        plan: the whole plan.
        cells: of the whole plan.
        asked: source (agent, environment or environment.agent), destination (address, name, environment.service or
            service) and port (`tcp/5000`, `udp/53`, `icmp`).

    Raises:
        NothingToExplainError: the plan has no such cell.
    """
    source, destination, port = asked
    protocol, number = parse_port(port)
    ports = PortSet.of([number])
    names = {(t.agent, t.address): t.names for t in plan}
    here = [cell for cell in cells if source in _sources(cell)]
    if not here:
        known = ", ".join(dict.fromkeys(cell.key.agent for cell in cells)) or "none"
        raise NothingToExplainError(f"the plan has no agent '{source}'; it has: {known}")
    there = [
        cell for cell in here if destination in _destinations(cell, names.get((cell.key.agent, cell.key.address), ()))
    ]
    if not there:
        known = ", ".join(dict.fromkeys(f"{cell.key.destination} {cell.key.address}" for cell in here))
        raise NothingToExplainError(f"{source} does not probe '{destination}'; it probes: {known}")
    found = [cell for cell in there if cell.key.protocol is protocol and cell.ports & ports]
    if not found:
        raise NothingToExplainError(
            f"{port} of {destination} is in no cycle and no sweep of {source}: declare a service there, "
            "or add it to probing.sweep.ports"
        )
    return _shown(plan, min(found, key=says_most), ports)


def explain_finding(
    situation: Situation, finding: Finding, shown: Shown | None, events: Iterable[Event], exchanges: Exchanges
) -> proof.Explanation:
    """Why a finding stands, shown on the cell of it that says most."""
    about = explained(situation, finding, shown, events)
    exchange = None if shown is None else _exchange(shown, exchanges)
    return proof.Explanation(**msgspec.structs.asdict(about), exchange=exchange)


def explain_cell(situation: Situation, shown: Shown, exchanges: Exchanges) -> proof.Explanation:
    """Why one cell has its result."""
    exchange = _exchange(shown, exchanges)
    return proof.Explanation(finding=None, history=(), **_cell(situation, shown), exchange=exchange)


def explained(
    situation: Situation, finding: Finding, shown: Shown | None, events: Iterable[Event]
) -> proof.Explained[estate.Finding]:
    """Why a finding stands, without packets."""
    taken = None
    if finding.acknowledged_by:
        taken = proof.Acknowledged(by=finding.acknowledged_by, reason=finding.acknowledged_reason)
    return proof.Explained(
        finding=finding_body(situation.topology, finding),
        first_seen=iso(finding.first_seen),
        rounds=finding.seen,
        acknowledged=taken,
        history=tuple(
            proof.Happened(at=iso(event.at), what=event.what, text=event.text, by=event.by or None)
            for event in events
            if event.finding == finding.id
        ),
        **(_nothing(finding) if shown is None else _cell(situation, shown)),
    )


def named(estate: Estate, body: proof.Explanation, shown: Shown | None) -> proof.Explanation:
    """An explanation with the names that led to the address of its cell."""
    target = shown.target if shown is not None else None
    return msgspec.structs.replace(body, names=names_seen(estate, target.names if target is not None else ()))


def exchange_of(kept: Body) -> packets.Exchange:
    """An exchange as it is answered."""
    return msgspec.convert(kept, packets.Exchange)


def parse_port(text: str) -> tuple[Protocol, int]:
    """`tcp/5000`, `udp/53` or `icmp` as (protocol, port, 0 for ICMP); NothingToExplainError for anything else."""
    name, slash, number = text.partition("/")
    if text == "icmp":
        return Protocol.ICMP, 0
    if name not in {"tcp", "udp"} or not slash or not number.isdecimal() or not 0 < int(number) <= 65535:  # noqa: PLR2004
        raise NothingToExplainError(f"'{text}' is not a port; write it like tcp/5000, udp/53 or icmp")
    return Protocol(name), int(number)


def _sources(cell: Cell) -> set[str]:
    environment, agent = cell.source_environment, cell.key.agent
    return {agent, environment, f"{environment}.{agent}", cell.key.source_address}


def _destinations(cell: Cell, names: Iterable[str]) -> set[str]:
    service = {cell.service, f"{cell.key.destination}.{cell.service}"} if cell.service else set()
    return {cell.key.address, cell.key.destination, *names, *service}


class _About(TypedDict):
    cell: estate.Cell | None
    result: str | None
    grade: str | None
    declared: proof.Declaration
    means: str | None
    settle: tuple[str, ...]
    witness: str | None
    inside: str | None
    round: proof.RoundOf | None
    evidence: proof.Evidence | None
    row: proof.Row | None
    limits: proof.Limits | None


def _nothing(finding: Finding) -> _About:
    where = ", ".join(finding.addresses)
    return {
        "cell": None,
        "result": None,
        "grade": None,
        "declared": proof.Declaration(declared=None, text=f"{where} is no longer in the plan", path=None, at=None),
        "means": None,
        "settle": (),
        "witness": None,
        "inside": None,
        "round": None,
        "evidence": None,
        "row": None,
        "limits": None,
    }


def _shown(plan: Iterable[PlanTarget], cell: Cell, ports: PortSet) -> Shown:
    return Shown(cell, ports, next((target for target in plan if key_of(target) == cell.key), None))


def _exchange(shown: Shown, exchanges: Exchanges) -> packets.Exchange | None:
    kept = exchanges.of_cell(shown.cell, shown.ports)
    return None if kept is None else exchange_of(kept)


def _cell(situation: Situation, shown: Shown) -> _About:
    cell, ports, target, judged = shown.cell, shown.ports, shown.target, shown.cell.judged
    topology = situation.topology
    advice = situation.settled(cell)
    said = text_of(ports)
    return {
        "cell": msgspec.structs.replace(cell_body(cell), ports=said),
        "result": cell.result.value,
        "grade": cell.grade or None,
        "declared": declared(topology, cell, target, said),
        "means": advice.means if advice else None,
        "settle": (advice.settle,) if advice else remedy(topology, cell, said),
        "witness": target.witness or None if target else None,
        "inside": (judged.evidence.inside_by if judged else "") or (target.inside if target else "") or None,
        "round": _round(judged) if judged and judged.round else None,
        "evidence": _evidence(judged.evidence) if judged else None,
        "row": proof.Row(number=judged.verdict.row, text=ROWS[judged.verdict.row]) if judged else None,
        "limits": limits_body(limits(judged.verdict, judged.evidence)) if judged else None,
    }


def limits_body(found: Limits | None) -> proof.Limits | None:
    """What a green cell leaves open."""
    if found is None:
        return None
    seconds = None if found.seconds is None else round(found.seconds, 1)
    return proof.Limits(flows=found.flows, seconds=seconds, loss=found.loss, share=round(found.share, 3))


def _round(judged: Judged) -> proof.RoundOf:
    return proof.RoundOf(
        id=judged.round, run=judged.run or None, schedule=judged.schedule, observed_at=iso(judged.observed_at)
    )


def _evidence(e: Evidence) -> proof.Evidence:
    """Field by field: what is inside may be renamed, what is answered may not."""
    return proof.Evidence(
        protocol=e.protocol,
        state=e.state,
        reason=e.reason,
        refused_by=e.refused_by,
        endpoint_refused=e.endpoint_refused,
        way=e.way,
        kernel=e.kernel,
        via=e.via,
        sent=e.sent,
        covered=e.covered,
        flows=e.flows,
        span_s=None if e.span_s is None else round(e.span_s, 1),
        refused=e.refused,
        prohibited=e.prohibited,
        prohibited_at_host=e.prohibited_at_host,
        hops=e.hops,
        rtt_ms=e.rtt_ms,
        said=e.said,
        note=e.note,
        arrival=e.arrival,
        no_witness_why=e.no_witness_why,
        arrived=e.arrived,
        came_from=e.came_from,
        came_hops=e.came_hops,
        dscp=e.dscp,
        mss=e.mss,
        altered=e.altered,
        answered=e.answered,
        bound=e.bound,
        noports_still=e.noports_still,
        undelivered=e.undelivered,
        handed_on=e.handed_on,
        drops_still=e.drops_still,
        inside=e.inside,
        inside_by=e.inside_by,
        inside_heard=e.inside_heard,
        inside_once=e.inside_once,
        inside_same=e.inside_same,
        canary=e.canary,
        host_hops=e.host_hops,
        least_hops=e.least_hops,
        control=e.control,
        control_by=e.control_by,
        loss=e.loss,
        problem=e.problem,
    )
