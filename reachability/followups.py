"""Further rounds that would settle what a round has left open, over the same endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reachability.challenged import fell_behind, tried
from reachability.loss import slower_pps
from reachability.matrix import CellKey
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Evidence
from reachability.vocabulary import Arrival, Protocol, RoundKind, SentBy, State, Unproven

MOST_FOLLOWUPS = 12  # of a round, of all kinds
MOST_CHALLENGED, MOST_CHALLENGES = 256, 4  # ports of one, which is over in some seconds, and how many a round has
MOST_BEHIND = 2  # that fell behind and are made up for
TRIES = 2  # challenges of one port: what both leave open, a third would too
GROUPS = (1, 8, 16, 16)  # that the ports of a kind make in the first NoPorts round, and in those for what it left
MOST_GROUPS, MOST_OF_GROUP = 32, 4096  # in a round: a group takes some two seconds, and longer the larger it is
MOST_IN_VAIN = 2  # rounds before one that tells nothing is the last
MOST_CONNECTS = 256
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
    noports: tuple[PortSet, ...]  # whether the host's stack got it; ports that may share a group


def follow_ups(
    rounds: Sequence[RoundData],
    open_ends: Sequence[OpenEnds],
    cells: Sequence[tuple[CellKey, Target, PortSet, Evidence]],
    copies: int,
    flows: int,
    rate_pps: int | None,
) -> tuple[FollowUp, ...]:
    """What would settle what a round left open: a keyed challenge, more copies, groups for the NoPorts counter.

    `copies`: that loss asks for; `flows`: that the legs of a path do. `rate_pps`: what the former may go at, None for any.
    """
    followups = []
    challenge = _challenge(rounds, open_ends)
    if challenge:
        slowly = slower_pps(rounds) if any(map(fell_behind, rounds)) else None
        followups.append(FollowUp(kind=RoundKind.CHALLENGE, targets=challenge, rate_pps=slowly))
    again = _again(rounds, cells, copies, flows, rate_pps)
    if again is not None and sum(data.spec.kind is RoundKind.NORMAL for data in rounds) <= MOST_REPEATS:
        followups.append(again)
    connects = _connects(rounds, cells)
    if connects:
        followups.append(FollowUp(kind=RoundKind.NORMAL, targets=connects))
    groups = _noports_groups(rounds, open_ends)
    if groups:
        wanted = {target for target, _ in groups}
        targets = tuple(
            _narrow(left.target, PortSet.union(left.noports)) for left in open_ends if left.target.id in wanted
        )
        followups.append(FollowUp(kind=RoundKind.NOPORTS, targets=targets, groups=groups))
    return tuple(followups)


def _again(
    rounds: Sequence[RoundData],
    cells: Sequence[tuple[CellKey, Target, PortSet, Evidence]],
    copies: int,
    flows: int,
    rate_pps: int | None,
) -> FollowUp | None:
    """Further copies of what lacks some for the loss or for the legs, and of what was silent for less than the spread."""
    spread_s, wait_s = rounds[0].spec.spread_s, 0.0
    lacking: dict[int, PortSet] = {}
    for _, target, ports, e in cells:
        short = e.problem == Unproven.SPREAD
        if short or e.problem == Unproven.LEGS or (copies > 0 and e.problem == Unproven.LOSS):
            lacking[target.id] = lacking.get(target.id, PortSet()) | ports
        if short:
            wait_s = max(wait_s, spread_s - (e.span_s or 0.0))
    if not lacking:
        return None
    return FollowUp(
        kind=RoundKind.NORMAL,
        targets=tuple(_narrow(t, lacking[t.id]) for t in rounds[0].spec.targets if t.id in lacking),
        copies=max(copies, flows, AGAIN_COPIES),
        rate_pps=rate_pps if copies > 0 else None,
        wait_s=wait_s,
    )


def _connects(
    rounds: Sequence[RoundData], cells: Sequence[tuple[CellKey, Target, PortSet, Evidence]]
) -> tuple[Target, ...]:
    """Open ports whose packets the host did not see, to be tried through the kernel: a SYN proxy connects once it is connected."""
    unseen: dict[int, PortSet] = {}
    for _, target, ports, e in cells:
        raw = e.way in {SentBy.RAW, SentBy.RING} and target.protocol is Protocol.TCP
        if raw and not e.kernel and e.state is State.OPEN and e.arrival is Arrival.NOT_SEEN:
            unseen[target.id] = unseen.get(target.id, PortSet()) | ports
    room, chosen = MOST_CONNECTS, []
    for target in rounds[0].spec.targets:
        ports = PortSet.of(list(unseen.get(target.id, ()))[:room])
        room -= len(ports)
        if ports:
            chosen.append(replace(_narrow(target, ports), first=ports))
    return tuple(chosen) if sum(data.spec.kind is RoundKind.NORMAL for data in rounds) <= MOST_REPEATS else ()


def unchallenged(rounds: Sequence[RoundData], open_ends: Sequence[OpenEnds]) -> str:
    """In words, how many ports are left undecided because a round has no more challenges; "" for none."""
    if not _has_challenged(rounds):
        return ""
    left = sum(len(left.undecided - PortSet.union(tried(rounds, left.target))) for left in open_ends)
    why = f"a round challenges {MOST_CHALLENGES * MOST_CHALLENGED:,} at most"
    if sum(map(fell_behind, rounds)) > MOST_BEHIND:
        why = "its source was too busy to keep time"
    return f"{left:,} such ports were not challenged, for {why}" if left else ""


def _has_challenged(rounds: Sequence[RoundData]) -> bool:
    """Whether a round has had all its challenges; those that fell behind are made up for, slowly, a few times."""
    behind = sum(map(fell_behind, rounds))
    made = sum(data.spec.kind is RoundKind.CHALLENGE for data in rounds) - behind
    return made >= MOST_CHALLENGES or behind > MOST_BEHIND


def _challenge(rounds: Sequence[RoundData], open_ends: Sequence[OpenEnds]) -> tuple[Target, ...]:
    """The ports of the next challenge: those that none has tried first, then those that one left open."""
    if _has_challenged(rounds):
        return ()
    room, chosen = MOST_CHALLENGED, [PortSet() for _ in open_ends]
    before = [tried(rounds, left.target) for left in open_ends]
    by_kernel = [_tried_by_kernel(rounds, left.target) for left in open_ends]
    for times in range(TRIES):
        for number, left in enumerate(open_ends):
            ports = [p for p in left.undecided if sum(p in once for once in before[number]) == times][:room]
            room -= len(ports)
            chosen[number] |= PortSet.of(ports)
    return tuple(
        replace(left.target, ports=ports, first=ports & (left.target.first | connected))
        for left, ports, connected in zip(open_ends, chosen, by_kernel, strict=True)
        if ports
    )


def _tried_by_kernel(rounds: Sequence[RoundData], target: Target) -> PortSet:
    """Ports to which something went through the kernel: what came there may be that."""
    flows = (flow for data in rounds if data.source for flow in data.source.kernel_flows)
    mine = [flow for flow in flows if (flow.address, flow.protocol) == (target.address, target.protocol)]
    return PortSet.union([PortSet.of(flow.port for flow in mine if flow.port), *(flow.ports for flow in mine)])


def _noports_groups(rounds: Sequence[RoundData], open_ends: Sequence[OpenEnds]) -> tuple[tuple[int, PortSet], ...]:
    """Ports by groups for the counters of their host: all of a kind, then what is mixed in ever smaller ones.

    Smaller groups tell mixed ports apart, but do not help where others keep the counters busy: then it ends early.
    """
    before = [data.spec for data in rounds if data.spec.kind is RoundKind.NOPORTS]
    left = sum(len(ports) for ends in open_ends for ports in ends.noports)
    asked = sum(len(target.ports) for target in before[-1].targets) if before else 0
    if len(before) == len(GROUPS) or (len(before) >= MOST_IN_VAIN and left >= asked):
        return ()
    groups: list[tuple[int, PortSet]] = []
    for ends in open_ends:
        for kind in ends.noports:
            ports = list(kind)
            size = min(MOST_OF_GROUP, -(-len(ports) // GROUPS[len(before)]))
            groups.extend((ends.target.id, PortSet.of(ports[i : i + size])) for i in range(0, len(ports), size))
    return tuple(groups[:MOST_GROUPS])


def _narrow(target: Target, ports: PortSet) -> Target:
    return replace(target, ports=ports, first=target.first & ports)
