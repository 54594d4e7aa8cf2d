"""When the packet child is started and ended. It is a process that does nothing but wait."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from agent.childproc import PacketChild
from agent.journal import open_log
from probes.child.protocol import Configure
from reachability.vocabulary import RoundKind
from tests.support.waiting import until
from wire.messages import Close, Go, Stop

WAITS = (sys.executable, "-S", "-c", "import signal; signal.pause()")
GO = Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=())


class Dying(PacketChild):
    """Is told something by the daemon in the moment that its process takes to end."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    lives = 0

    async def _one_life(self) -> None:
        self.lives += 1
        await super()._one_life()

    async def _end(self, process: asyncio.subprocess.Process, *, kill: bool) -> None:
        assert self.pid, "not ended yet"
        self.meanwhile()
        await super()._end(process, kill=kill)


async def lived(test: Callable[[Dying], Awaitable[None]]) -> int:
    """How many processes were started meanwhile."""
    log = open_log("dev-1", as_json=True)
    child = Dying(lambda: Configure(agent="dev-1"), heard=lambda _: None, died=lambda _: None, log=log, command=WAITS)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(child.run(), name="child")
        await test(child)
        running.cancel()
    return child.lives


@pytest.mark.asyncio
async def test_no_child_is_started_to_be_told_to_stop_while_the_last_one_dies() -> None:
    async def test(child: Dying) -> None:
        child.meanwhile = lambda: child.tell(Stop(reason="again"))
        child.tell(GO)
        await until(lambda: child.pid)
        child.stop_within(0.0)
        await until(lambda: not child._process and child._orders.empty())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not child.pid

    assert await lived(test) == 1


@pytest.mark.asyncio
async def test_what_follows_the_stop_is_for_the_next_child_and_in_its_order() -> None:
    async def test(child: Dying) -> None:
        def tell() -> None:
            child.meanwhile = lambda: None
            for order in (Stop(reason="again"), GO, Close(round="r")):
                child.tell(order)

        written = []
        child._write = lambda _, order: written.append(order)  # type: ignore[method-assign,assignment]
        child.meanwhile = tell
        child.tell(GO)
        await until(lambda: GO in written)
        child.stop_within(0.0)
        await until(lambda: Close(round="r") in written)
        assert [order for order in written if not isinstance(order, Configure)] == [GO, GO, Close(round="r")]

    assert await lived(test) == 2


@pytest.mark.asyncio
async def test_an_order_in_the_moments_that_a_stop_leaves_its_child_is_for_the_next_one() -> None:
    async def test(child: Dying) -> None:
        written: list[tuple[int, object]] = []
        child._write = lambda _, order: written.append((child.lives, order))  # type: ignore[method-assign,assignment]
        child.tell(GO)
        await until(lambda: (1, GO) in written)
        child.tell(Stop(reason="maintenance"))
        child.stop_within(0.2)
        await until(lambda: written[-1] == (1, Stop(reason="maintenance")))
        child.tell(Close(round="r"))
        child.set_busy(busy=True)
        await until(lambda: written[-1] == (2, Close(round="r")))

    assert await lived(test) == 2


@pytest.mark.asyncio
async def test_it_is_said_when_there_is_no_child_any_more() -> None:
    pids: list[int] = []

    async def test(child: Dying) -> None:
        child._ended = lambda: pids.append(child.pid)
        child.tell(GO)
        await until(lambda: child.pid)
        child.tell(Stop(reason="maintenance"))
        child.stop_within(0.0)
        assert pids == []
        await until(lambda: pids)

    await lived(test)
    assert pids == [0]
