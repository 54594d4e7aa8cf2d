"""The loop that tests of deadlines run on: time jumps, in order, and a scene that would hang says so."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual import now, run


def test_an_hour_takes_no_time_and_everything_happens_in_its_order() -> None:
    seen: list[tuple[int, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((round(now()), name))

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for name, seconds in (("last", 3000.0), ("first", 7.0), ("second", 1800.0)):
                group.create_task(sleeper(name, seconds), name=name)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100.0):
                await asyncio.get_running_loop().create_future()
        seen.append((round(now()), "given up"))

    run(scene())
    assert seen == [(7, "first"), (1800, "second"), (3000, "last"), (3100, "given up")]


def test_what_would_run_in_a_thread_is_done_at_once() -> None:
    async def scene() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert run(scene()) == 7


def test_a_scene_without_an_end_is_ended() -> None:
    async def for_ever() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    async def in_vain() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        run(for_ever(), within_s=0.1)
    with pytest.raises(TimeoutError):
        run(in_vain())
