"""The body of `explain`: what was declared, sent, seen and controlled, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from coordinator.api.declared import declared, remedy, says_most
from coordinator.api.views import cell_body, finding_body
from coordinator.json_types import Body, iso
from coordinator.packets.exchanges import Exchanges
from reachability.advice import ROWS, advise
from reachability.compare import Cell, key_of
from reachability.finding import Event, Finding
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.topology import Topology
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
    names = {(t.agent, t.address): t.name for t in plan if t.name}
    here = [cell for cell in cells if source in _sources(cell)]
    if not here:
        known = ", ".join(dict.fromkeys(cell.key.agent for cell in cells)) or "none"
        raise NothingToExplainError(f"the plan has no agent '{source}'; it has: {known}")
    there = [cell for cell in here if destination in _destinations(cell, names.get((cell.key.agent, cell.key.address)))]
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
    topology: Topology, finding: Finding, shown: Shown | None, events: Iterable[Event], exchanges: Exchanges
) -> Body:
    """Why a finding stands, shown on the cell of it that says most."""
    return {
        "finding": finding_body(topology, finding),
        "first_seen": iso(finding.first_seen),
        "rounds": finding.seen,
        "acknowledged": {"by": finding.acknowledged_by, "reason": finding.acknowledged_reason}
        if finding.acknowledged_by
        else None,
        "history": [
            {"at": iso(event.at), "what": event.what, "text": event.text, "by": event.by or None}
            for event in events
            if event.finding == finding.id
        ],
        **(_nothing(finding) if shown is None else _cell(topology, shown, exchanges)),
    }


def explain_cell(topology: Topology, shown: Shown, exchanges: Exchanges) -> Body:
    """Why one cell has its result."""
    return {"finding": None, "history": [], **_cell(topology, shown, exchanges)}


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


def _destinations(cell: Cell, name: str | None) -> set[str]:
    service = {cell.service, f"{cell.key.destination}.{cell.service}"} if cell.service else set()
    return {cell.key.address, cell.key.destination, name or cell.key.address, *filter(None, service)}


def _nothing(finding: Finding) -> Body:
    where = ", ".join(finding.addresses)
    return {
        "cell": None,
        "declared": {"declared": None, "text": f"{where} is no longer in the plan", "path": None, "at": None},
        "result": None,
        "grade": None,
        "means": None,
        "settle": [],
        "witness": None,
        "inside": None,
        "round": None,
        "evidence": None,
        "row": None,
        "exchange": None,
    }


def _shown(plan: Iterable[PlanTarget], cell: Cell, ports: PortSet) -> Shown:
    return Shown(cell, ports, next((target for target in plan if key_of(target) == cell.key), None))


def _cell(topology: Topology, shown: Shown, exchanges: Exchanges) -> Body:
    cell, ports, target = shown.cell, shown.ports, shown.target
    advice = advise(cell)
    said = text_of(ports)
    body: Body = {
        "cell": {**cell_body(cell), "ports": said},
        "result": cell.result.value,
        "grade": cell.grade or None,
        "declared": declared(topology, cell, target, said),
        "means": advice.means if advice else None,
        "settle": [advice.settle] if advice else remedy(topology, cell, said),
        "witness": target.witness or None if target else None,
        "inside": (cell.judged.evidence.inside_by if cell.judged else "") or (target.inside if target else "") or None,
        "round": None,
        "evidence": None,
        "row": None,
        "exchange": exchanges.of_cell(cell, ports),
    }
    if cell.judged is not None:
        judged = cell.judged
        body["round"] = {
            "id": judged.round,
            "run": judged.run or None,
            "schedule": judged.schedule,
            "observed_at": iso(judged.observed_at),
        }
        body["evidence"] = asdict(judged.evidence)
        body["row"] = {"number": judged.verdict.row, "text": ROWS[judged.verdict.row]}
    return body
