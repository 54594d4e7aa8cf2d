"""The packets that a round kept of a cell, from both sides: what `explain` shows and what an export writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coordinator.json_types import Body
from coordinator.packets.timeline import SOURCE, WITNESS, Side, stamp, timeline
from coordinator.store import HeldRound, Report
from reachability.arrival import WitnessReport
from reachability.compare import Cell
from reachability.finding import Finding
from reachability.matrix import CellKey
from reachability.observation import KeptPacket, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, Role

MOST_EXPORTED = 256  # exchanges of one finding


class Exchanges:
    """Finds exchanges. `held` gives a round with its follow-ups as the store has it; empty for one that is forgotten."""

    def __init__(self, held: Callable[[str], Sequence[HeldRound]]) -> None:
        self._held = held

    def of_cell(self, cell: Cell, ports: PortSet) -> Body | None:
        """The exchange of one of these ports of the cell; else of the nearest port that looked alike. None: none is kept."""
        found = self._round(cell.judged.round) if cell.judged is not None else None
        if found is None:
            return None
        kept = found.cells(cell.key)
        exact = [port for port in kept if port in ports]
        if exact:
            port = max(exact, key=lambda port: (found.was_seen(kept[port], port), -port))
            return found.exchange(cell.key, kept[port], port, exact=True)
        first = ports.first
        alike = sorted((port for port in kept if port in cell.ports), key=lambda port: abs(port - first))
        return found.exchange(cell.key, kept[alike[0]], alike[0], exact=False) if alike else None

    def of_finding(self, finding: Finding) -> list[Body]:
        """The exchanges of all its cells in the rounds that showed it last, as far as they are kept, and not too many."""
        rounds = [found for name in reversed(finding.shown) if (found := self._round(name)) is not None]
        places: dict[tuple[CellKey, int], tuple[_Round, Target]] = {}
        for region in finding.regions:
            for found in rounds:
                for port, target in found.cells(region.key).items():
                    if port in region.ports:
                        places.setdefault((region.key, port), (found, target))
        every = list(places.items())
        if len(every) > MOST_EXPORTED:
            every = [every[index * len(every) // MOST_EXPORTED] for index in range(MOST_EXPORTED)]
        return [found.exchange(key, target, port, exact=True) for (key, port), (found, target) in every]

    def _round(self, name: str) -> _Round | None:
        held = self._held(name)
        return _Round.of(held[0].spec, held[0].reports) if held else None


@dataclass(frozen=True, slots=True)
class _Round:
    """What a main round's reports kept. A side began when its report came, less the report's age and how long it took."""

    spec: RoundSpec
    source: SourceReport | None
    source_began: float
    witnesses: Sequence[tuple[WitnessReport, float]]

    @classmethod
    def of(cls, spec: RoundSpec, reports: Sequence[tuple[Report, float]]) -> _Round:
        source, began, witnesses = None, 0.0, []
        for report, received in reports:
            if isinstance(report, WitnessReport):
                witnesses.append((report, received - report.listened_s))
            elif report.role is Role.SOURCE and report.agent == spec.source:
                source, began = report, received - report.duration_s
        return cls(spec, source, began, witnesses)

    def cells(self, key: CellKey) -> dict[int, Target]:
        """The ports of a key of which the source kept a packet, in rising order, and the target of each."""
        if self.source is None or self.spec.source != key.agent:
            return {}
        mine = {
            target.id: target
            for target in self.spec.targets
            if (target.address, target.protocol, target.environment) == (key.address, key.protocol, key.destination)
            and target.source in {"", key.source_address}
        }
        found = {packet.port: mine[packet.target] for packet in self.source.kept if packet.target in mine}
        return dict(sorted(found.items()))

    def was_seen(self, target: Target, port: int) -> bool:
        """Whether the witness kept a packet of the cell."""
        return bool(self._at_witness(target, port))

    def exchange(self, key: CellKey, target: Target, port: int, *, exact: bool) -> Body:
        """One cell's packets of both sides in one order, and how the witness was. `exact`: it is the port that was asked for."""
        assert self.source is not None
        sent = [packet for packet in self.source.kept if (packet.target, packet.port) == (target.id, port)]
        listened = next(((r, began) for r, began in self.witnesses if r.agent == target.witness and not r.late), None)
        # What a witness kept of other hosts' packets tells something only where it saw nothing of the cell.
        seen = self._at_witness(target, port) or self._at_witness(target, 0, PacketRole.INSTEAD)
        packets, clocks = timeline(
            target.protocol,
            Side(SOURCE, self.spec.source, self.source_began, sent),
            Side(WITNESS, target.witness, listened[1] if listened else self.source_began, seen),
        )
        return {
            "round": self.spec.round,
            "protocol": target.protocol.value,
            "port": port or None,
            "exact": exact,
            "source": {
                "agent": self.spec.source,
                "address": key.source_address,
                "began": stamp(self.source_began),
            },
            "witness": _listener(*listened, target.address) if listened else None,
            "destination": target.address,
            "clocks": clocks,
            "packets": packets,
        }

    def _at_witness(self, target: Target, port: int, only: PacketRole | None = None) -> list[KeptPacket]:
        return [
            packet
            for report, _ in self.witnesses
            if report.agent == target.witness
            for packet in report.kept
            if (packet.target, packet.port) == (target.id, port)
            and (packet.what is only if only else packet.what is not PacketRole.INSTEAD)
        ]


def _listener(report: WitnessReport, began: float, address: str) -> Body | None:
    """How the witness of an address listened."""
    health = next((health for health in report.health if health.address == address), None)
    if health is None:
        return None
    return {
        "agent": report.agent,
        "began": stamp(began),
        "armed_ms": report.armed_ms,
        "listened_s": report.listened_s,
        "healthy": health.healthy,
        "why": health.why or None,
        "off_host": health.off_host,
    }
