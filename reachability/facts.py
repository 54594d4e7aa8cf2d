"""What a round's reports say of the pair as a whole: its source controls and its loss, beside the facts of each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reachability.host_facts import HostFacts, host_facts
from reachability.loss import lower_bound, missed_before_capture, slower_pps, uncaptured, worst
from reachability.measured import Measured
from reachability.observation import ControlResult, Observation, Target
from reachability.round_data import RoundData
from reachability.topology import family, is_address
from reachability.vocabulary import ControlKind, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFacts:
    """Whether packets of a cell's kind were shown to leave the environment, and for how many copies that holds."""

    good: bool
    covered: int
    by: str = ""


class Sending(NamedTuple):
    """What packets share that a control can speak for."""

    protocol: Protocol
    family: int
    source_address: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """What holds for the pair in this round."""

    hosts: Mapping[int, HostFacts]
    controls: tuple[ControlResult, ...]
    arrived: Mapping[Sending, int]  # to the last copy that a witness saw
    loss_and_back: Mapping[int, float | None]  # by target, of its host and protocol; None: not measured
    loss_to_witness: Mapping[int, float | None]
    slower_pps: int | None  # at which further copies may do better: witnesses miss more than the controls tell

    def has_answered(self, protocol: Protocol, address: str, *, outside: bool = False) -> bool:
        """Whether a control of the protocol and the address's family was answered at all; `outside`: one not of the pair."""
        return is_address(address) and any(
            c.protocol is protocol
            and c.answered
            and family(c.address) == family(address)
            and not (outside and c.kind == ControlKind.PAIR)
            for c in self.controls
        )

    def control(self, o: Observation, target: Target) -> ControlFacts:
        """The source control that holds for an observation: an answer from outside, else a witness that saw copies."""
        if not o.via or not is_address(target.address):
            return ControlFacts(good=False, covered=0)
        ip = family(target.address)
        for control in self.controls:
            if (
                control.protocol is target.protocol
                and control.answered
                and control.kind != ControlKind.PAIR
                and control.source_address == o.source_address
                and control.via == o.via
                and family(control.address) == ip
                and o.covered
            ):
                return ControlFacts(good=True, covered=o.covered, by=f"{control.kind} {control.address} answered")
        last = self.arrived.get(Sending(target.protocol, ip, o.source_address, o.via))
        if last:
            # Only the passes before the last one of which something arrived are known to have got out whole.
            return ControlFacts(good=True, covered=min(o.sent, last), by="a witness saw copies of other ports")
        return ControlFacts(good=False, covered=0)


def gather(rounds: Sequence[RoundData]) -> PairFacts:
    """Facts of a round and its follow-ups together."""
    controls = tuple(c for data in rounds if data.source for c in data.source.controls)
    measured = Measured.of(rounds, controls)
    arrived = measured.arrived.values()
    way = lower_bound(sum(sent for sent, _ in arrived), sum(lost for _, lost in arrived))
    return PairFacts(
        hosts={target.id: host_facts(rounds, target) for target in rounds[0].spec.targets},
        controls=controls,
        arrived=_last_copies(rounds),
        loss_and_back=measured.losses(rounds[0].spec.targets, uncaptured(rounds), one_way=False),
        loss_to_witness=measured.losses(rounds[0].spec.targets, missed_before_capture(rounds), one_way=True),
        slower_pps=slower_pps(rounds) if way > (worst(measured.answered()) or 0.0) else None,
    )


def _last_copies(rounds: Sequence[RoundData]) -> dict[Sending, int]:
    last: dict[Sending, int] = {}
    for data in rounds:
        if data.source is None:
            continue
        sent_from = {o.target: (o.source_address, o.via) for o in data.source.observations if o.via}
        for w in data.witnesses:
            for row in w.arrivals:
                if row.target in sent_from:
                    key = Sending(row.protocol, family(row.address), *sent_from[row.target])
                    last[key] = max(last.get(key, 0), row.last_copy)
    return last
