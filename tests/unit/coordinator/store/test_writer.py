"""What is written in threads: one after the other, to its end, and what the loop writes in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from coordinator.store.writer import Writer
from tests.support.waiting import HANG_S


class Slow:
    """Something that is being written until `go_on`."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.go_on.wait(HANG_S)
        return "written"

    async def is_under_way(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, HANG_S)


def test_what_the_loop_has_to_write_comes_after_what_is_under_way_and_before_what_waits() -> None:
    writer, slow, done = Writer(), Slow(), list[str]()

    def noted(word: str) -> Callable[[], None]:
        return lambda: done.append(f"{word}, {'busy' if writer.busy else 'free'}")

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            first = group.create_task(writer(slow), name="first")
            await slow.is_under_way()
            group.create_task(writer(noted("second")), name="second")
            group.create_task(writer(noted("third")), name="third")
            await asyncio.sleep(0)
            assert writer.busy
            writer.later(noted("loop"))
            assert done == []
            slow.go_on.set()
            assert await first == "written"
        assert not writer.busy

    asyncio.run(scene())
    assert done == ["loop, free", "second, busy", "third, busy"]


def test_who_is_cancelled_before_its_turn_has_written_nothing_and_after_it_all() -> None:
    writer, slow, ended = Writer(), Slow(), list[str]()

    async def one(name: str, write: Callable[[], object]) -> None:
        try:
            await writer(write)
        finally:
            ended.append(name)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            first = group.create_task(one("first", slow), name="first")
            await slow.is_under_way()
            second = group.create_task(one("second", lambda: pytest.fail("it was cancelled")), name="second")
            await asyncio.sleep(0)
            for _ in range(2):  # as by one who does not want to wait
                first.cancel()
                second.cancel()
                for _ in range(3):
                    await asyncio.sleep(0)
            assert (ended, writer.busy) == (["second"], True)
            slow.go_on.set()
            await asyncio.wait({first})
            assert first.cancelled()
        assert (ended, writer.busy) == (["second", "first"], False)

    asyncio.run(scene())


def test_what_cannot_be_written_is_told_to_who_asked_and_the_next_is_written() -> None:
    writer = Writer()

    def broken() -> None:
        raise OSError("no")

    async def scene() -> str:
        with pytest.raises(OSError, match="no"):
            await writer(broken)
        return await writer(lambda: "written")

    assert asyncio.run(scene()) == "written"


def test_others_that_keep_all_threads_busy_hold_up_nothing_that_is_written() -> None:
    writer, go_on = Writer(), threading.Event()

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            for number in range(40):  # more than asyncio has threads of its own
                group.create_task(asyncio.to_thread(go_on.wait, HANG_S), name=f"other {number}")
            await asyncio.sleep(0)
            writing = group.create_task(writer(lambda: "written"), name="write")
            done, _ = await asyncio.wait({writing}, timeout=5.0)
            go_on.set()
            assert done == {writing}

    asyncio.run(scene())
