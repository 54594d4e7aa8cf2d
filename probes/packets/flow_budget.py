"""The bound on the entries that this agent's packets may leave in the connection tables of routers and firewalls.

A packet with a new pair of ports makes an entry wherever it is let through, and who sends it cannot tell where that is: so
each counts for as long as Linux keeps an entry for a packet without an answer, or for one that was closed (`nf_conntrack_*`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from math import ceil

from probes.clock import monotonic
from reachability.vocabulary import Protocol

MOST = 50_000
UNANSWERED_S = {Protocol.TCP: 120.0, Protocol.UDP: 30.0, Protocol.ICMP: 30.0}
CLOSED_S = 10.0
LOOK_S = 0.1


class FlowBound:
    """Counts entries by the second in which they end. `most` may be changed while it is in use."""

    def __init__(
        self,
        most: int = MOST,
        held: Iterable[tuple[float, int]] = (),
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`held`: entries that an earlier process left: seconds that they still have, and how many."""
        self.most = most
        self._now = now
        self._ends: dict[Protocol, Counter[int]] = {protocol: Counter() for protocol in Protocol}
        for seconds, count in held:
            self._ends[Protocol.UDP][ceil(now() + seconds)] += count
        self._total = sum(count for _, count in held)

    async def take(self, protocol: Protocol, flows: int = 1) -> None:
        """Wait until this many further flows may be made, and count them."""
        while not self.has_room(flows):  # noqa: ASYNC110 - time is what makes room
            await asyncio.sleep(LOOK_S)
        self.add(protocol, flows)

    def has_room(self, flows: int) -> bool:
        """Whether this many more are within the bound; a single lot larger than the bound waits for an empty table."""
        self._expire()
        return self._total + flows <= max(self.most, flows)

    def add(self, protocol: Protocol, flows: int) -> None:
        """Count flows that are sent now."""
        self._ends[protocol][ceil(self._now() + UNANSWERED_S[protocol])] += flows
        self._total += flows

    def closed(self, flows: int) -> None:
        """This many TCP flows have been reset, by the target or by this host: their entries end soon."""
        ends = self._ends[Protocol.TCP]
        soon = ceil(self._now() + CLOSED_S)
        left = flows
        for at in sorted((at for at in ends if at > soon), reverse=True):
            if not left:
                break
            moved = min(left, ends[at])
            ends[at] -= moved
            left -= moved
        ends[soon] += flows - left

    def held(self) -> tuple[tuple[float, int], ...]:
        """Seconds that entries still have, and how many, for the process that comes after this one."""
        self._expire()
        now = self._now()
        whole: Counter[int] = sum(self._ends.values(), Counter())
        return tuple((at - now, count) for at, count in sorted(whole.items()) if count)

    def _expire(self) -> None:
        now = self._now()
        for ends in self._ends.values():
            for at in [at for at in ends if at < now]:
                self._total -= ends.pop(at)
