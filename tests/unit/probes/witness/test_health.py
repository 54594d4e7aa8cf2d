"""When a capture is shown to work: by what came in since it was asked, not by what waited in its ring."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from probes.host.counters import HostFacts
from probes.packets.parse import Packet
from probes.packets.token import inside_key, token
from probes.witness.health import OffHost, WitnessDeps
from reachability.arrival import WitnessReport
from reachability.vocabulary import Protocol
from tests.support.witness import ECHO_REPLY, GATEWAY, HERE, KEY, PORT, arm, new_witness, packet


def dark_after(*came_at: float) -> set[str]:
    """Which addresses are dark when such packets are read, one at each try, that came in at these times; it is asked at 10.0."""
    clock = [10.0]
    waiting: list[Packet] = [replace(ECHO_REPLY, at=at) for at in came_at]
    off_host = OffHost()

    async def provoke(_: str) -> None:
        if waiting:
            off_host.count(waiting.pop(0))

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    deps = WitnessDeps(
        facts=HostFacts, local=lambda: frozenset({HERE}), xdp=set, gateways=lambda: frozenset({GATEWAY}), provoke=provoke,
        drops=lambda: 0, now=lambda: clock[0], sleep=sleep,
    )  # fmt: skip
    return asyncio.run(off_host.prove(deps, {HERE}, 4.0))


def test_what_waited_in_the_ring_of_a_suspended_process_shows_nothing() -> None:
    """The rest of the ring may not have been read yet, and the copies that are looked for are in it."""
    assert dark_after(*(8.0 + n / 100 for n in range(100))) == {HERE}
    assert dark_after() == {HERE}


def test_what_came_since_does() -> None:
    assert dark_after(10.1) == set()
    assert dark_after(8.0, 9.9, 10.3) == set(), "all before it was read"


def test_an_inside_controls_packet_shows_that_the_capture_works_where_no_gateway_answers() -> None:
    """It comes in when the round is armed, and again when it is over: the packet of another host to the very address."""

    async def play(*, inside: bool) -> WitnessReport:
        witness = new_witness()

        async def silence(_: str) -> None:
            if inside:
                tok = token(inside_key(KEY), HERE, Protocol.TCP, PORT, 0)
                witness.packet(replace(packet("10.30.0.11", 999, tok=tok), at=1e6))

        assert witness._deps is not None
        witness._deps = replace(witness._deps, provoke=silence)
        await witness.arm(arm("R1", KEY, "dev-1"))
        return await witness.close("R1")

    report = asyncio.run(play(inside=True))
    assert [(health.healthy, health.off_host > 0) for health in report.health] == [(True, True)]
    assert report.arrivals == (), "and no copy of the source's"
    assert [health.healthy for health in asyncio.run(play(inside=False)).health] == [False]
