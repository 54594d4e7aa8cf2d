"""The sample estate behind the coordinator's own API and page, on loopback, in a thread: a leak comes and goes, all restarts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec

from coordinator.api.app import Api, Served
from coordinator.broker.addresses import Listen
from coordinator.messaging.floods import Floods
from coordinator.rounds.brake import Halt
from coordinator.rounds.durations import Durations
from coordinator.settings import Settings
from tests.support import sample
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

T = TypeVar("T")


class OffLoopback(Listen):
    """An address of loopback that is dealt with as if others could reach it."""

    __slots__ = ()
    is_loopback = False


class PageCoordinator:
    """`directory` is its state directory; `estate` may be changed while it runs, within `change`."""

    def __init__(
        self, directory: Path, estate: sample.Estate, *, certificate: tuple[Path, Path] | None = None, now: float = 0.0
    ) -> None:
        self.directory, self.estate = directory, estate
        self.halt: Halt | None = None
        self._rounds = 0
        self.stopped: list[tuple[str, str]] = []
        self.port = free_port()
        self._certificate = certificate
        self._began, self._now = time.monotonic(), now or sample.NOW.timestamp()
        self._loop: asyncio.AbstractEventLoop | None = None
        directory.mkdir(mode=0o700, exist_ok=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.directory / "token").read_text().strip()

    def clock(self) -> float:
        return self._now + time.monotonic() - self._began

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Until the block ends; again, it is another process to who asks."""
        ready, ending, failed = threading.Event(), asyncio.Event(), list[OSError]()

        async def serve() -> None:
            certificate, key = self._certificate or (None, None)
            settings = Settings(
                topology=self.directory, pki=self.directory, listen=Listen("127.0.0.1", 1), state_dir=self.directory,
                web=(OffLoopback if certificate else Listen)("127.0.0.1", self.port), web_cert=certificate, web_key=key,
            )  # fmt: skip
            self._loop = asyncio.get_running_loop()
            async with Api(self._served()).serving(settings):
                ready.set()
                await ending.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except OSError as error:
                failed.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(HANG_S)
            assert not failed, failed
            yield
        finally:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(ending.set)
            thread.join(HANG_S)
        assert not failed, failed

    def change(self, act: Callable[[], T]) -> T:
        """Do something where the coordinator does it."""

        async def done() -> T:
            return act()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(HANG_S)

    def leak(self, there: bool) -> None:
        """The hole is opened or closed, and a round has seen it."""

        def act() -> None:
            self._rounds += 1
            name, at = f"01JD{self._rounds:04}", sample.NOW.timestamp() - 1 + self._rounds / 1000
            self.estate.matrix = sample.observe(self.estate.plan, leak=there, name=name, at=at)
            self.estate.events += self.estate.book.apply(self.estate.cells, sample.NOW, 1)

        self.change(act)

    def _served(self) -> Served:
        held = self.estate

        async def stop(reason: str, by: str) -> None:
            self.stopped.append((reason, by))

        estate: Any = _Estate(self)
        brake = SimpleNamespace(halt=self.halt, blackout=lambda: "")
        engine: Any = SimpleNamespace(durations=Durations(), judging=SimpleNamespace(faults={}), brake=brake, stopped="", stop=stop, resume=lambda _: None)  # fmt: skip
        runs: Any = SimpleNamespace(all=list, get=lambda _: None)
        return Served(
            estate=estate, engine=engine, runs=runs, floods=Floods(time.monotonic), refused={}, connected=lambda: True,
            status=lambda: msgspec.structs.replace(held.status(), topology_loaded="2026-11-23T11:00:00.000Z"), certificates=dict,
        )  # fmt: skip


class _Estate:
    """What the API needs of the coordinator's estate, of a sample."""

    problem = ""
    losses: dict[str, Any] = {}

    def __init__(self, coordinator: PageCoordinator) -> None:
        held = coordinator.estate
        self._held, self.clock = held, coordinator.clock
        self.agents = {agent.name: agent for agent in sample.AGENTS}
        self.store = SimpleNamespace(events=lambda: held.events, group_of=lambda _: ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def cells(self, *_: Any, **__: Any) -> Any:
        return self._held.cells

    def now(self) -> Any:
        return sample.NOW
