"""When a capture is shown to work: by what came in since it was asked, not by what waited in its ring."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from probes.host.counters import HostFacts
from probes.packets.parse import Packet
from probes.witness.health import OffHost, WitnessDeps
from tests.support.witness import ECHO_REPLY, GATEWAY, HERE


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
