"""The witness and the groups of a NoPorts round: when the counters are read, and what belongs to which slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec

from probes.host.counters import HostFacts
from probes.host.deliveries import Deliveries
from probes.packets.parse import Packet
from probes.packets.token import token
from probes.witness.readings import Stop
from probes.witness.witness import Witness
from reachability.arrival import NoPortsGroup
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.support.witness import ECHO_REPLY, HERE, KEY, PORT, SOURCE, arm, new_witness, packet, witness_of

TICK_S = 0.02


class Pulse:
    """A witness of one group whose counters are read each 20 ms of a clock of the test, whatever its loop does."""

    def __init__(self) -> None:
        self.now, self.read, self.stopped = 1.0, 0, False
        self.moved = {4: Deliveries(), 6: Deliveries()}
        self.copies = 0
        self._work: Callable[[], object] | None = None
        self.witness = new_witness()
        assert self.witness._deps is not None
        self.witness._deps = replace(
            self.witness._deps, now=lambda: self.now, deliveries=self.counters, provoke=self.provoke, repeat=self.repeat
        )

    async def provoke(self, _: str) -> None:
        self.now += 0.1
        self.witness.packet(replace(ECHO_REPLY, at=self.now))

    def counters(self) -> dict[int, Deliveries]:
        self.read += 1
        return dict(self.moved)

    def repeat(self, work: Callable[[], object]) -> Stop:
        self._work = work
        return self.stop

    def stop(self) -> None:
        self._work, self.stopped = None, True

    def wait(self, seconds: float = 0.25) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            if self._work is not None:
                self._work()

    def arrives(self) -> Packet:
        """A copy comes, and no socket gets it; what the capture will hand over."""
        tok = token(KEY, HERE, Protocol.UDP, PORT, self.copies)
        self.copies += 1
        self.moved[4] = Deliveries(noports=self.copies)
        self.now += 0.01
        return replace(packet(SOURCE, 40_000, Protocol.UDP, tok), at=self.now)

    async def arm(self, name: str = "R1") -> None:
        order = arm(name, KEY, "dev-1", Protocol.UDP)
        await self.witness.arm(
            msgspec.structs.replace(order, kind=RoundKind.NOPORTS, groups=((1, PortSet.of([PORT])),))
        )


def told(groups: tuple[NoPortsGroup, ...]) -> list[tuple[int, int]]:
    [row] = groups
    assert all(slot.seconds < 0.35 for slot in row.slots)
    return [(slot.arrived, slot.noports) for slot in row.slots]


def test_the_witness_has_a_reading_of_each_tick_of_such_a_round() -> None:
    async def play() -> tuple[NoPortsGroup, ...]:
        pulse = Pulse()
        await pulse.arm()
        for _ in range(3):
            pulse.wait()
            pulse.witness.tick()
            pulse.witness.packet(pulse.arrives())
        pulse.wait()
        return (await pulse.witness.close("R1")).groups

    assert told(asyncio.run(play())) == [(1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]


def test_a_loop_that_stands_still_for_seconds_misses_no_slot() -> None:
    """The capture hands over all copies at the end of it, in a row and with no tick between."""

    async def play() -> tuple[NoPortsGroup, ...]:
        pulse, waiting = Pulse(), []
        await pulse.arm()
        for _ in range(4):
            pulse.wait(3.0)
            waiting.append(pulse.arrives())
            pulse.wait()
        for one in waiting:
            pulse.witness.packet(one)
        return (await pulse.witness.close("R1")).groups

    [row] = asyncio.run(play())
    assert [(slot.arrived, slot.noports) for slot in row.slots] == [(1, 1), (0, 0)] * 3 + [(1, 1)]


def test_copies_that_the_capture_had_not_handed_over_at_the_last_reading_are_in_no_slot() -> None:
    """They moved the counters, and not all of them are there to be held against that."""

    async def play() -> tuple[NoPortsGroup, ...]:
        pulse = Pulse()
        await pulse.arm()
        for _ in range(3):
            pulse.wait()
            pulse.witness.packet(pulse.arrives())
        pulse.wait()
        waiting: list[Packet] = []

        async def sleep(_: float) -> None:
            waiting.append(pulse.arrives())
            pulse.wait()  # readings go on
            pulse.witness.packet(waiting[0])

        assert pulse.witness._deps is not None
        pulse.witness._deps = replace(pulse.witness._deps, sleep=sleep)
        return (await pulse.witness.close("R1")).groups

    assert told(asyncio.run(play())) == [(1, 1), (0, 0)] * 3


def test_the_counters_are_read_only_while_groups_are_awaited() -> None:
    async def play() -> None:
        pulse = Pulse()
        await pulse.witness.arm(arm("R0", KEY, "dev-1", Protocol.UDP))
        before = pulse.read
        pulse.wait()
        assert pulse.read == before
        await pulse.arm("R1")
        await pulse.arm("R2")
        before = pulse.read
        pulse.wait()
        assert pulse.read > before + 10
        await pulse.witness.close("R1")
        assert not pulse.stopped
        await pulse.witness.close("R2")
        assert pulse.stopped

    asyncio.run(play())


def test_a_round_that_is_never_closed_ends_the_readings_too() -> None:
    async def play() -> bool:
        pulse = Pulse()
        await pulse.arm()
        pulse.now += 1e6
        pulse.witness.tick()
        return pulse.stopped

    assert asyncio.run(play())


def test_what_the_host_sends_to_its_own_dead_ports_is_counted_with_the_rest() -> None:
    """It moves NoPorts as well: else a host whose firewall drops everything would look as if it had let as much through."""
    own = Packet(1.2, True, True, "lo", 4, "127.0.0.1", "127.0.0.1", 64, 17, 40_000, 8125)

    def feed(witness: Witness) -> None:
        witness.packet(own)
        witness.packet(replace(own, incoming=False, to_host=False))
        witness.packet(replace(own, protocol=6))
        witness.packet(packet(SOURCE, 40_000, Protocol.UDP, token(KEY, HERE, Protocol.UDP, PORT, 0)))

    [report] = witness_of(feed, arm("R1", KEY, "dev-1", Protocol.UDP))
    assert [(h.udp_unbound, h.noports) for h in report.health] == [(2, 0)]


def test_health_says_what_moved_over_the_round_and_whether_the_host_forwards() -> None:
    async def play(*facts: HostFacts) -> tuple[object, ...]:
        witness, read = new_witness(), iter(facts)
        assert witness._deps is not None
        witness._deps = replace(witness._deps, facts=lambda: next(read))
        await witness.arm(arm("R1", KEY, "dev-1", Protocol.UDP))
        [found] = (await witness.close("R1")).health
        return found.noports, found.delivered, found.forwarded, found.forwards

    before = HostFacts(deliveries={4: Deliveries(1, 2, 0, 3)})
    after = HostFacts(deliveries={4: Deliveries(2, 4, 0, 6)})
    assert asyncio.run(play(before, after)) == (1, 2, 3, False)
    assert asyncio.run(play(replace(before, forwards=frozenset({4})), after)) == (1, 2, 3, True)
    assert asyncio.run(play(before, replace(after, forwards=frozenset({6})))) == (1, 2, 3, False)
