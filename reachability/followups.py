"""Further rounds that would settle what a round has left open, over the same endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reachability.matrix import CellKey
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Evidence
from reachability.vocabulary import RoundKind, Unproven

MOST_CHALLENGED = 256
NOPORTS_GROUPS = 16
MOST_REPEATS = 2  # further copies that change nothing will not do so the third time
AGAIN_COPIES = 2  # of what is tried again after the spread, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A further round that would settle what is open; the same endpoints, so it runs before others probe them."""

    kind: RoundKind
    targets: tuple[Target, ...]
    copies: int = 4
    groups: tuple[tuple[int, PortSet], ...] = ()
    rate_pps: int | None = None  # at most; None: the source's own
    wait_s: float = 0.0  # not sooner than this after the main round's source was done


@dataclass(frozen=True, slots=True)
class OpenEnds:
    """What a target still leaves open, to be settled by a follow-up."""

    target: Target
    undecided: PortSet
    noports: PortSet


def follow_ups(
    rounds: Sequence[RoundData],
    open_ends: Sequence[OpenEnds],
    cells: Sequence[tuple[CellKey, Target, PortSet, Evidence]],
    copies: int,
    rate_pps: int | None,
) -> tuple[FollowUp, ...]:
    """What would settle what a round left open: a keyed challenge, more copies, groups for the NoPorts counter.

    `rate_pps`: what the copies may go at, None for any.
    """
    followups = []
    budget, challenge = MOST_CHALLENGED, []
    for left in open_ends:
        ports = PortSet.of(list(left.undecided)[:budget])
        budget -= len(ports)
        if ports:
            challenge.append(_narrow(left.target, ports))
    if challenge and not any(data.spec.kind is RoundKind.CHALLENGE for data in rounds):
        followups.append(FollowUp(kind=RoundKind.CHALLENGE, targets=tuple(challenge)))
    again = _again(rounds, cells, copies, rate_pps)
    if again is not None and sum(data.spec.kind is RoundKind.NORMAL for data in rounds) <= MOST_REPEATS:
        followups.append(again)
    levels = sum(data.spec.kind is RoundKind.NOPORTS for data in rounds)
    groups = _noports_groups(open_ends, levels)
    if groups:
        wanted = {target for target, _ in groups}
        targets = tuple(_narrow(left.target, left.noports) for left in open_ends if left.target.id in wanted)
        followups.append(FollowUp(kind=RoundKind.NOPORTS, targets=targets, groups=groups))
    return tuple(followups)


def _again(
    rounds: Sequence[RoundData],
    cells: Sequence[tuple[CellKey, Target, PortSet, Evidence]],
    copies: int,
    rate_pps: int | None,
) -> FollowUp | None:
    """Further copies of what lacks some for the loss, and of what was silent for less than the spread."""
    spread_s, wait_s = rounds[0].spec.spread_s, 0.0
    lacking: dict[int, PortSet] = {}
    for _, target, ports, e in cells:
        short = e.problem == Unproven.SPREAD
        if short or (copies > 0 and e.problem == Unproven.LOSS):
            lacking[target.id] = lacking.get(target.id, PortSet()) | ports
        if short:
            wait_s = max(wait_s, spread_s - (e.span_s or 0.0))
    if not lacking:
        return None
    return FollowUp(
        kind=RoundKind.NORMAL,
        targets=tuple(_narrow(t, lacking[t.id]) for t in rounds[0].spec.targets if t.id in lacking),
        copies=max(copies, AGAIN_COPIES),
        rate_pps=rate_pps if copies > 0 else None,
        wait_s=wait_s,
    )


def _noports_groups(open_ends: Sequence[OpenEnds], level: int) -> tuple[tuple[int, PortSet], ...]:
    """UDP ports by groups for the host's NoPorts counter: a few groups first, then the mixed ones port by port."""
    if level > 1:
        return ()
    groups: list[tuple[int, PortSet]] = []
    for left in open_ends:
        ports = list(left.noports)
        size = max(1, -(-len(ports) // NOPORTS_GROUPS)) if level == 0 else 1
        groups.extend((left.target.id, PortSet.of(ports[i : i + size])) for i in range(0, len(ports), size))
    return tuple(groups[: 4 * NOPORTS_GROUPS])


def _narrow(target: Target, ports: PortSet) -> Target:
    return replace(target, ports=ports, first=target.first & ports)
