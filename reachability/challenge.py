"""Whose packets are these? Those that fill the keyed on-slots and leave the off-slots are ours.

A firewall that rewrites sequence numbers and timestamps takes the token off our packets; somebody else's traffic never
had one. The source sends in slots that only the round's key tells, so for any other traffic, however bursty or regular, the
on-slots are a random choice among the slots: how likely it is to fill them by chance is exactly known.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import TypeVar

from reachability.arrival import Untokened

FILLED = 0.8  # of the on-slots, where the packets are ours
STRAY = 0.1  # of a group's packets that may lie elsewhere
CHANCE = 0.002  # that any traffic but ours is taken for ours, over all groups of a port
HIDDEN = 0.5  # of the on-slots: a flow that fills this many may hold ours, thinned by loss or mixed with others
A_SLOT = 2  # packets that the source sends to a port in an on-slot
MOST_MISSED = 4e-5  # chance that loss hides ours: over all ports of a challenge a hundredth
MOST_SPAN = 1024  # slots that packets may lie apart: a challenge has 20 and its round lasts some more
MOST_GROUPS = 256  # groups large enough to hide ours
STEPS = 8  # positions of the pattern tried within a slot: clocks are not compared
K = TypeVar("K", bound=Hashable)


class Challenged(StrEnum):
    """What the packets without a token that came to a port in a challenge show."""

    SEEN = "seen"  # they are ours
    SEEN_ANSWERED = "seen-answered"  # and the host answered them: only the answer was lost
    NOT_SEEN = "not-seen"  # none of them is
    UNDECIDED = "undecided"  # a group could hide ours, or fits and might by chance


def ours(slots: Sequence[int], slot_ms: float, flows: Sequence[Untokened]) -> Challenged:
    """What one port shows, from the packets without a token that came in the challenge.

    Packets are grouped by the address and port they came from, and by the address alone: behind NAT ours share the
    address with others, but all come from one source port.
    """
    if not flows:
        return Challenged.NOT_SEEN
    pattern = _Pattern(slots, slot_ms)
    if not pattern.usable:
        return Challenged.UNDECIDED
    by_flow: dict[tuple[str, int], list[int]] = {}
    by_address: dict[str, list[int]] = {}
    for flow in flows:
        if flow.flows == 1:
            by_flow.setdefault((flow.came_from, flow.source_port), []).extend(flow.times_ms)
        elif flow.largest >= HIDDEN * pattern.on:
            return Challenged.UNDECIDED
        by_address.setdefault(flow.came_from, []).extend(flow.times_ms)
    if any(pattern.is_beyond(times) for times in by_address.values()):
        return Challenged.UNDECIDED
    groups = {tuple(sorted(times)) for times in (*by_flow.values(), *by_address.values())}
    if sum(len(times) >= HIDDEN * pattern.on for times in groups) > MOST_GROUPS:
        return Challenged.UNDECIDED
    chances = {times: pattern.chance(times) for times in groups if len(times) >= pattern.least}
    if any(chance * len(chances) <= CHANCE for chance in chances.values()):
        return Challenged.SEEN
    cut_short = any(flow.count > len(flow.times_ms) for flow in flows)
    single = _distinct(by_flow.values())
    if cut_short or any(chances.get(times, 1) < 1 or pattern.may_hide(times) for times in single):
        return Challenged.UNDECIDED
    return Challenged.NOT_SEEN


def known(slots: Sequence[int], slot_ms: float, times_ms: Mapping[K, Iterable[int]]) -> set[K]:
    """Which senders are us, of those whose packets to all ports of a challenge came at these times.

    Over all ports together ours fill the slots even where most of them are lost, and too few at each port to tell it by.
    """
    pattern = _Pattern(slots, slot_ms)
    if not pattern.usable:
        return set()
    laid_out = {sender: pattern.laid_out(times) for sender, times in times_ms.items()}
    many = {sender: times for sender, times in laid_out.items() if len(times) >= pattern.least}
    if len(many) > MOST_GROUPS or any(pattern.is_beyond(times) for times in many.values()):
        return set()
    tried = len(set(many.values()))
    return {sender for sender, times in many.items() if pattern.chance(times) * tried <= CHANCE}


def shown(slots: Sequence[int], sent: Sequence[int]) -> tuple[int, ...]:
    """The on-slots in which as many packets as should were seen to leave; `sent` may be empty: nothing was shown."""
    return tuple(int(bool(on) and count >= A_SLOT) for on, count in zip_longest(slots, sent, fillvalue=0))


def is_enough(slots: Sequence[int], sent: Sequence[int]) -> bool:
    """Whether in enough of the on-slots packets were seen to leave for silence to mean something, were none of them lost."""
    on = sum(map(bool, slots))
    return on > 0 and HIDDEN * on <= sum(shown(slots, sent))


def is_hidden_by(loss: float | None, on: int) -> bool:
    """Whether this much loss may leave too little of a challenge with this many on-slots to be noticed; None: not measured."""
    if loss is None or on <= 0:
        return True
    empty = loss**A_SLOT
    few = range(math.ceil(HIDDEN * on))
    return sum(math.comb(on, k) * (1 - empty) ** k * empty ** (on - k) for k in few) > MOST_MISSED


def _distinct(groups: Iterable[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(sorted(times)) for times in groups}


class _Pattern:
    """The slots as bit masks: a bit is an eighth of a slot."""

    def __init__(self, slots: Sequence[int], slot_ms: float) -> None:
        self.total = len(slots)
        self.on = sum(1 for slot in slots if slot)
        self.usable = slot_ms > 0 and 0 < self.on < self.total
        self.least = max(1, -int(-FILLED * self.on // 1))
        self._bit_ms = slot_ms / STEPS
        self._on = sum(1 << index * STEPS for index, slot in enumerate(slots) if slot)
        self._within = sum((1 << STEPS) - 1 << index * STEPS for index, slot in enumerate(slots) if slot)
        self._off = sum(1 << index * STEPS for index, slot in enumerate(slots) if not slot)

    def laid_out(self, times: Iterable[int]) -> tuple[int, ...]:
        """When there was a packet at all, by eighths of a slot: thousands of them are as few as those of one port."""
        return tuple(sorted({int(int(at / self._bit_ms) * self._bit_ms) for at in times}))

    def is_beyond(self, times: Sequence[int]) -> bool:
        """Whether they lie further apart than a challenge lasts: what a witness says of them is not to be laid out in memory."""
        return bool(times) and max(times) - min(times) > MOST_SPAN * STEPS * self._bit_ms

    def chance(self, times: tuple[int, ...]) -> float:
        """How likely foreign packets at these times would fit as well for some offset; 1.0 when they do not fit."""
        best = 1.0
        most = STRAY * len(times)
        for offset, filled_on, filled_off, strays in self._offsets(times, self.least):
            if strays <= most and self._strays(times, offset) <= most:
                best = min(best, self._tail(filled_on, filled_off) * self.total)
        return best

    def may_hide(self, times: tuple[int, ...]) -> bool:
        """Whether packets of ours could be among these: at some offset enough on-slots have one."""
        least = max(1, math.ceil(HIDDEN * self.on))
        return len(times) >= least and any(True for _ in self._offsets(times, least))

    def _offsets(self, times: tuple[int, ...], least: int) -> Iterator[tuple[int, int, int, int]]:
        """(offset in bits, on-slots with a packet, off-slots with a packet, strays at least) for every offset within the times.

        Those at which fewer than `least` on-slots have a packet are left out.
        """
        first = times[0]
        lead = self.total * STEPS  # bits in front, so that the pattern may begin before the first packet
        occupied = 0
        for at in times:
            occupied |= 1 << lead + int((at - first) / self._bit_ms)
        slot = 0  # bit b: a packet within the slot that begins at b
        for step in range(STEPS):
            slot |= occupied >> step
        for offset in range(occupied.bit_length()):
            here = slot >> offset
            filled_on = (here & self._on).bit_count()
            if filled_on >= least:
                strays = occupied.bit_count() - (occupied >> offset & self._within).bit_count()
                yield offset - lead, filled_on, (here & self._off).bit_count(), strays

    def _strays(self, times: tuple[int, ...], offset: int) -> int:
        """Packets outside the on-slots."""
        strays = 0
        for at in times:
            bit = int((at - times[0]) / self._bit_ms) - offset
            strays += not (0 <= bit < self.total * STEPS and self._on >> bit // STEPS * STEPS & 1)
        return strays

    def _tail(self, filled_on: int, filled_off: int) -> float:
        """Probability that a random pattern has this many of the filled slots among its on-slots (hypergeometric)."""
        filled, off = filled_on + filled_off, self.total - self.on
        ways = sum(
            math.comb(self.on, k) * math.comb(off, filled - k) for k in range(filled_on, min(filled, self.on) + 1)
        )
        return ways / math.comb(self.total, filled)
