"""Signs of life on a virtual clock: a part that hangs, and a loop that does, miss them."""

import asyncio

import pytest

from tests.support import virtual
from wire.process.notify import Notifier
from wire.process.progress import LOOK_S, PART_S, Progress, ago, keep_telling


class Told(Notifier):
    """Notes when it was told what."""

    def __init__(self, watchdog_s: float = 120.0) -> None:
        super().__init__("@nobody", watchdog_s)
        self.alive_at: list[float] = []
        self.said: list[str] = []

    def alive(self, status: str) -> None:
        self.alive_at.append(virtual.now())
        self.said.append(status)

    def stuck(self, status: str) -> None:
        self.said.append(status)


async def play(notifier: Notifier, progress: Progress, seconds: float) -> list[str]:
    """Tell it for so long; what was logged."""
    logged: list[str] = []
    async with asyncio.TaskGroup() as group:
        keeping = keep_telling(notifier, lambda: "it serves", progress.stalled, logged.append)
        telling = group.create_task(keeping, name="telling")
        await asyncio.sleep(seconds)
        telling.cancel()
    return logged


@pytest.mark.parametrize(("watchdog_s", "every"), [(120.0, LOOK_S), (4.0, 2.0), (0.0, LOOK_S)])
def test_it_is_said_twice_within_the_watchdogs_time(watchdog_s: float, every: float) -> None:
    told = Told(watchdog_s)
    assert virtual.run(play(told, Progress(), 10 * every + 1)) == []
    assert len(told.alive_at) == 11
    assert told.alive_at == pytest.approx([every * index for index in range(11)], abs=0.01)


def test_a_part_that_hangs_ends_the_signs_of_life_until_it_goes_on() -> None:
    told, progress = Told(), Progress()

    async def scene() -> list[str]:
        goes_on = asyncio.Event()

        async def part() -> None:
            sleep = progress.sleeping("housekeeping")
            await sleep(5.0)
            await goes_on.wait()
            while True:
                await sleep(5.0)

        async with asyncio.TaskGroup() as group:
            working = group.create_task(part(), name="part")
            asyncio.get_running_loop().call_later(PART_S + 300, goes_on.set)
            logged = await play(told, progress, PART_S + 400)
            working.cancel()
        return logged

    (logged,) = virtual.run(scene())
    assert logged.startswith("housekeeping has made no progress for 6")
    silent = [at for at in told.alive_at if PART_S + 10 < at < PART_S + 295]
    assert silent == []
    assert told.alive_at[-1] > PART_S + 300
    assert "hangs: housekeeping has made no progress for 615 s" in told.said


def test_a_loop_that_hangs_says_nothing() -> None:
    """What takes the loop's time takes the telling's: there is no thread that would go on saying that all is well."""
    told = Told(watchdog_s=4.0)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.call_later(5.0, loop.block, 60.0)
        await play(told, Progress(), 100.0)

    virtual.run(scene())
    gaps = [after - before for before, after in zip(told.alive_at, told.alive_at[1:], strict=False)]
    assert max(gaps) >= 60.0
    assert sorted(gaps)[-2] == pytest.approx(2.0, abs=0.01)


def test_without_a_manager_nothing_is_told() -> None:
    async def scene() -> None:
        await keep_telling(Notifier(), lambda: "it serves", lambda: "", lambda _: None)

    virtual.run(scene())


def test_nothing_is_told_after_the_end_was() -> None:
    async def scene() -> list[float]:
        told = Told()
        asyncio.get_running_loop().call_later(LOOK_S / 2, told.stopping)
        await keep_telling(told, lambda: "it serves", lambda: "", lambda _: None)
        return told.alive_at

    assert len(virtual.run(scene())) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "less than a minute ago"),
        (59.9, "less than a minute ago"),
        (60.0, "1 minute ago"),
        (3599.0, "59 minutes ago"),
        (7200.0, "2 hours ago"),
        (90000.0, "1 day ago"),
        (-5.0, "less than a minute ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(seconds) == words
