"""Writes beside the event loop: one thing after the other, each in a thread, while the loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class Writer:
    """Whose turn it is to write. While a thread has it, the loop itself must not write: it would stand still until the end."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._later: list[Callable[[], object]] = []
        self._thread = ThreadPoolExecutor(1, "store")  # its own: others keep asyncio's busy for as long as they like

    @property
    def busy(self) -> bool:
        """Whether a thread writes."""
        return self._turn.locked()

    def later(self, write: Callable[[], object]) -> None:
        """Have the loop call this as soon as no thread writes any more."""
        self._later.append(write)

    def close(self) -> None:
        """Nothing is written any more."""
        self._thread.shutdown()

    async def __call__(self, write: Callable[[], _T]) -> _T:
        """What it gives, from a thread; in the order in which it was asked for.

        Whoever is cancelled before its turn has written nothing; later, it is cancelled when all is written or nothing is.
        """
        async with self._turn:
            loop = asyncio.get_running_loop()
            try:
                return await _to_the_end(loop.run_in_executor(self._thread, write))
            finally:
                for each in self._later:  # after whoever waited for this, and before the next that waits
                    loop.call_soon(each)
                self._later = []


async def _to_the_end(job: asyncio.Future[_T]) -> _T:
    cut_off: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait({job})
        except asyncio.CancelledError as error:
            cut_off = error
    if cut_off is not None:
        job.exception()  # it is nobody's any more
        raise cut_off
    return job.result()
