"""The stream: bodies and beats on virtual time, an end for everybody, and what a reader that is gone leaves."""

from __future__ import annotations

import asyncio
import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.api.auth import ApiError
from coordinator.api.live import events
from coordinator.api.live.events import BEAT_S, MOST, MOST_S, Events
from coordinator.api.live.picture import Picture
from coordinator.api.responses.status import Failure
from tests.support.virtual import run


class Told:
    """A response whose reader may be gone or stuck; what was written when."""

    def __init__(self, gone_after: float = 1e9, stuck_after: float = 1e9) -> None:
        self.text, self.writes, self.closed = "", list[float](), False
        self._gone_after, self._stuck_after = gone_after, stuck_after

    async def prepare(self, _: Any) -> None:
        self._began = asyncio.get_running_loop().time()

    async def write(self, data: bytes) -> None:
        at = asyncio.get_running_loop().time() - self._began
        if at > self._gone_after:
            raise ConnectionResetError
        if at > self._stuck_after:
            await asyncio.sleep(1e6)
        self.text += data.decode()
        self.writes.append(at)

    def force_close(self) -> None:
        self.closed = True


def sent(told: Told) -> list[tuple[str, str]]:
    """(part, its text) of each body in a stream."""
    return re.findall(r'event: (\w+)\ndata: {"error":"(\w+)"}', told.text)


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies, self.seen = {"status": "a", "matrix": "b"}, 0
        self.told: Told | None = None
        monkeypatch.setattr(events, "web", SimpleNamespace(StreamResponse=lambda **_: self.told))

    def start(self) -> None:
        steady = asyncio.get_running_loop().time
        self.picture = Picture(
            lambda: self.seen, lambda: {n: (Failure(error=t), Failure(error=t)) for n, t in self.bodies.items()}, steady
        )
        self.events = Events(self.picture, lambda: 1_704_099_600.0, steady)

    def change(self, **bodies: str) -> None:
        self.bodies |= bodies
        self.seen += 1

    async def read(self, told: Told, last: str = "") -> Told:
        self.told = told
        await self.events.stream(SimpleNamespace(headers={"Last-Event-ID": last} if last else {}))  # type: ignore[arg-type]
        return told


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_all_comes_first_and_then_what_changes_within_a_second(desk: Desk) -> None:
    async def story() -> Told:
        desk.start()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(desk.read(Told()), name="reader")
            await asyncio.sleep(7.3)
            desk.change(matrix="b2")
        return reading.result()

    told = run(story())
    assert told.text.startswith('retry: 1000\n\nevent: beat\ndata: {"now":"2024-01-01T09:00:00.000Z"}\n\n')
    assert sent(told) == [("status", "a"), ("matrix", "b"), ("matrix", "b2")]
    assert any(7.3 <= at <= 8.3 for at in told.writes)
    assert told.writes[-1] < MOST_S


def test_who_comes_back_with_the_last_id_gets_what_changed_meanwhile(desk: Desk) -> None:
    async def story() -> list[Told]:
        desk.start()
        first = await desk.read(Told(gone_after=10.0))
        last = first.text.rpartition("id: ")[2].partition("\n")[0]
        desk.change(status="a2")
        return [await desk.read(Told(gone_after=10.0), given) for given in (last, "", "another-1")]

    known, new, other = run(story())
    assert sent(known) == [("status", "a2")]
    assert sent(new) == sent(other) == [("status", "a2"), ("matrix", "b")]


def test_half_of_what_changed_has_no_id(desk: Desk) -> None:
    async def story() -> Told:
        desk.start()
        return await desk.read(Told(gone_after=1.0))

    blocks = run(story()).text.split("\n\n")
    assert [block.partition(":")[0] for block in blocks if '"error"' in block] == ["event", "id"]


def test_a_beat_says_that_it_is_there(desk: Desk) -> None:
    async def story() -> Told:
        desk.start()
        return await desk.read(Told())

    told = run(story())
    assert max(later - earlier for earlier, later in itertools.pairwise(told.writes)) <= BEAT_S + 1


@pytest.mark.parametrize("how", [{"gone_after": 20.0}, {"stuck_after": 20.0}])
def test_a_reader_that_is_gone_or_reads_no_more_leaves_its_place(desk: Desk, how: dict[str, float]) -> None:
    async def story() -> None:
        desk.start()
        for _ in range(MOST + 1):
            assert (await desk.read(Told(**how))).closed

    run(story(), within_s=10_000)


def test_there_are_so_many_at_a_time(desk: Desk) -> None:
    async def story() -> None:
        desk.start()
        async with asyncio.TaskGroup() as group:
            for _ in range(MOST):
                group.create_task(desk.read(Told()), name="reader")
            await asyncio.sleep(1)
            with pytest.raises(ApiError, match="32 pages are open already"):
                await desk.read(Told())
        await desk.read(Told(gone_after=1.0))

    run(story())
