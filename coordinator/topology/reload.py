"""Picks up a changed topology file while the coordinator runs; one that does not load is refused, with the old in force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from coordinator.topology.load import TopologyErrors, load_topology
from reachability.topology import Topology

LOOK_S = 1.0

log = structlog.get_logger("topology")


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A topology file that was not accepted."""

    at: float  # epoch seconds
    errors: tuple[str, ...]


class Watch:
    """Looks at the file once a second, and at once when `look` is called (SIGHUP)."""

    def __init__(
        self, path: Path, current: Topology, take: Callable[[Topology], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        """`take` puts one in force, or raises TopologyErrors and leaves the old one."""
        self.refused: RefusedFile | None = None
        self.loaded_at = clock()
        self._path = path
        self._digest = current.digest
        self._take = take
        self._clock = clock
        self._now = asyncio.Event()
        self._waiting: list[Callable[[], None]] = []
        self._seen = _stamp(path)

    def look(self, looked: Callable[[], None] = lambda: None) -> None:
        """Load it now, changed or not; `looked` is called when it was loaded or refused."""
        self._seen = None
        self._waiting.append(looked)
        self._now.set()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            self._now.clear()
            waiting, self._waiting = self._waiting, []
            stamp = _stamp(self._path)
            if stamp != self._seen:
                self._seen = stamp
                await self._load()
            for looked in waiting:
                looked()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _load(self) -> None:
        try:
            topology = await asyncio.to_thread(load_topology, self._path)
            if changed := topology.digest != self._digest:
                await self._take(topology)  # until it is in force, the old one is
        except TopologyErrors as error:
            self.refused = RefusedFile(self._clock(), error.errors)
            log.error("topology refused, the old one stays in force", errors=error.errors)  # noqa: TRY400
            return
        self.refused = None
        if changed:
            self._digest, self.loaded_at = topology.digest, self._clock()
            log.info("topology loaded", file=topology.file, digest=topology.digest[:12])


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:  # an editor may be replacing it
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
