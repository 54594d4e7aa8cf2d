"""What the inside control of a target got: before the source's copies, and once more after the last of them.

A host that dies in between was answered for once, and silent ever after: that looks like a firewall from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reachability.observation import Observation, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import RoundKind, State

# Closed ports are answered by the host's kernel, all or none of them: this many, drawn by chance, are asked again for the rest.
SAMPLE = 16
ANSWERS = {State.OPEN, State.CLOSED}


@dataclass(frozen=True, slots=True)
class InsideControls:
    """`first`: what was got before; `once`: the ports of which no answer is known from after the source's last copy."""

    first: tuple[tuple[PortSet, Observation], ...]
    once: PortSet


def inside_controls(rounds: Sequence[RoundData], target: Target) -> InsideControls:
    """Of a round and its follow-ups; each of those that sent to a port needs both of its answers."""
    first: list[tuple[PortSet, Observation]] = []
    once = PortSet()
    for data in rounds:
        tried = PortSet.union(t.ports for t in data.spec.targets if t.id == target.id)
        if data.spec.kind is RoundKind.NORMAL:
            first.extend((o.ports, o) for o in _seen(data, target, again=False))
            once |= tried - _before_and_after(data, target)
    return InsideControls(tuple(first), once)


def _before_and_after(data: RoundData, target: Target) -> PortSet:
    """The ports that answered both times; all closed ones where enough of them were asked again and none fell silent."""
    before = [o for o in _seen(data, target, again=False) if o.state in ANSWERS]
    closed = PortSet.union(o.ports for o in before if o.state is State.CLOSED)
    after = list(_seen(data, target, again=True))
    answered = PortSet.union(o.ports for o in after if o.state in ANSWERS)
    drawn = PortSet.union(o.ports for o in after) & closed
    both = PortSet.union(o.ports for o in before) & answered
    if len(drawn) >= min(SAMPLE, len(closed)) and not drawn - answered:
        both |= closed
    return both


def _seen(data: RoundData, target: Target, *, again: bool) -> Iterator[Observation]:
    return (o for report in data.insides if report.again is again for o in report.observations if o.target == target.id)
