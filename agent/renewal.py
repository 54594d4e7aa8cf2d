"""Renews the agent's certificate over its own channel, before it ends.

The key of the new one is made here and never leaves the host. A certificate that came is tried on a connection of its
own; one that the broker refuses is dropped, and the agent goes on with the one that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.config import NEXT, NEXT_TRUST, RENEWED, TRUST
from wire.certificates import ends_soon, renew_at
from wire.dial import Broker
from wire.messages import Renew, Renewed
from wire.mqtt import Link

if TYPE_CHECKING:  # the child and the command line have no use for its journal
    from agent.journal import Log

ANSWER_S = 60.0
LOOK_S = 3600.0  # at the latest: clocks jump, and hosts sleep
SPREAD_S = 300.0  # not all agents at once when other CAs are trusted; a try that fails is repeated after so long
LEAST_RETRY_S, MOST_RETRY_S = 60.0, 6 * 3600.0
RETRIES = 20  # the share of what is left of its life after which it is tried again
DAY_S = 86400.0
CHILD_S = 30.0
BUSY_S = 600.0
# -P: an `agent` directory in the current one is not what is meant.
COMMAND = (sys.executable, "-P", "-m", "agent.credential")

Child = Callable[[str, bytes], Awaitable[bytes]]


class RenewalError(Exception):
    """There is no new certificate; the text says why."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says. Times are seconds since the epoch."""

    name: str
    environment: str
    generation: int
    starts: float
    ends: float
    ca: str = ""  # which CA it is of, and which ones the agent trusts, see `wire.certificates`
    trust: str = ""


class Renewal:
    """The life of one agent's certificates.

    `child` runs `agent.credential` and returns what it prints, or raises RenewalError. `ask` sends a request up, `answer`
    takes what comes of it. `try_out` connects with a certificate and says in words why it could not. `switch` goes over
    to one within this many seconds; `changed` is called when `held` is another.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        child: Child,
        ask: Callable[[Renew], None],
        try_out: Callable[[Path], Awaitable[str]],
        switch: Callable[[Path, float], Awaitable[None]],
        changed: Callable[[], None],
        log: Log,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.held: Held | None = None
        self._state_dir = state_dir
        self._child, self._ask, self._try_out, self._switch = child, ask, try_out, switch
        self._changed, self._log = changed, log
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._answers: asyncio.Queue[Renewed] = asyncio.Queue(1)
        self._warned_at = float("-inf")
        self._trust = ""
        self._rest: asyncio.Timeout | None = None  # while it sleeps

    def answer(self, answer: Renewed) -> None:
        """What the coordinator says to a request; one that nobody waits for is forgotten."""
        with contextlib.suppress(asyncio.QueueFull):
            self._answers.put_nowait(answer)

    def trust(self, wanted: str) -> None:
        """The coordinator trusts these CAs, see `wire.certificates`: where the agent does not, it renews soon. "": not said."""
        if wanted != self._trust:
            self._trust = wanted
            rest, self._rest = self._rest, None
            if rest is not None:
                rest.reschedule(0)

    async def run(self) -> None:
        """Look, wait, renew, for ever."""
        while self.held is None:
            try:
                self._hold(msgspec.json.decode(await self._child("look", b""), type=Held))
            except RenewalError as error:
                self._log.error("the certificate cannot be renewed", problem=str(error))
                await self._sleep(LOOK_S)
        due, asked = renew_at(self.held.starts, self.held.ends, self._chance()), ""
        while True:
            self._warn(self.held)
            if self._trust not in {"", self.held.trust, asked}:
                asked = self._trust
                due = min(due, self._clock() + SPREAD_S * self._chance())
            wait = due - self._clock()
            if wait > 0:
                await self._sleep_for(min(wait, LOOK_S))
                continue
            try:
                self._hold(await self._renew(self.held))
                due = renew_at(self.held.starts, self.held.ends, self._chance())
                due = max(due, self._clock() + 1.0)
            except RenewalError as error:
                pause = self._pause(self.held)
                due = self._clock() + pause * (1 + self._chance() / 2)
                self._log.warning("the certificate was not renewed", problem=str(error), again_in_s=round(pause))

    async def _sleep_for(self, seconds: float) -> None:
        """Or until other CAs are trusted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as self._rest:
                await self._sleep(seconds)
        self._rest = None

    async def _renew(self, held: Held) -> Held:
        request = await self._child("request", b"")
        while not self._answers.empty():
            self._answers.get_nowait()
        self._ask(Renew(request=request))
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answers.get()
        except TimeoutError:
            raise RenewalError(f"the coordinator gave no answer within {ANSWER_S:.0f} s") from None
        if answer.problem:
            raise RenewalError(f"the coordinator grants none: {answer.problem}")
        given = answer.certificate + b"\n" + answer.trust if answer.trust else answer.certificate
        taken = msgspec.json.decode(await self._child("take", given), type=Held)
        path, trust = self._state_dir / NEXT, self._state_dir / NEXT_TRUST
        if problem := await self._try_out(path):
            path.unlink(missing_ok=True)
            trust.unlink(missing_ok=True)
            raise RenewalError(f"the new one is refused, the old one stays: {problem}")
        if (
            trust.is_file()
        ):  # first: a new CA is trusted before the old one is given up, and a certificate is of the new
            trust.replace(self._state_dir / TRUST)
        path = path.replace(self._state_dir / RENEWED)
        # The old one must not end before a connection that is lost meanwhile can be made again.
        await self._switch(path, min(BUSY_S, max(0.0, (held.ends - self._clock()) / 4)))
        return taken

    def _pause(self, held: Held) -> float:
        left = held.ends - self._clock()
        least = min(LEAST_RETRY_S, max((held.ends - held.starts) / 100, 1.0))
        # One that has ended opens no new connection: only one that is still up could bring another.
        most = SPREAD_S if self._trust not in {"", held.trust} else MOST_RETRY_S
        return min(max(left / RETRIES, least), most) if left > 0 else MOST_RETRY_S

    def _hold(self, held: Held) -> None:
        known, self.held = self.held, held
        if known is not None:
            self._log.info("certificate renewed", until=_iso(held.ends))
        self._changed()

    def _warn(self, held: Held) -> None:
        now = self._clock()
        if ends_soon(held.starts, held.ends, now) and now - self._warned_at >= DAY_S:
            self._warned_at = now
            self._log.warning(
                "the certificate ends soon" if now < held.ends else "the certificate has ended",
                until=_iso(held.ends),
                to_do=f"on the coordinator's host: segwatch pki renew {held.name} …",
            )


def in_child(state_dir: Path) -> Child:
    """Runs `agent.credential` for the state directory. Keys pass neither by its arguments nor by its output."""

    async def run(kind: str, given: bytes) -> bytes:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, kind, str(state_dir), stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            async with asyncio.timeout(CHILD_S):
                said, problem = await process.communicate(given)
        except TimeoutError:
            raise RenewalError(f"the child that handles keys did not end within {CHILD_S:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise RenewalError(problem.decode(errors="replace").strip() or f"code {process.returncode}")
        return said

    return run


async def try_out(broker: Broker, subscriptions: Sequence[str] = (), within_s: float = ANSWER_S) -> str:
    """Connect once, beside any connection that is there; why that failed, "" when it did not."""
    failed = asyncio.Event()
    link = Link(broker, subscriptions=subscriptions, log=lambda _: failed.set())
    async with link, asyncio.TaskGroup() as group:
        waits = [
            group.create_task(link.wait_connected(), name="try out: connected"),
            group.create_task(failed.wait(), name="try out: refused"),
        ]
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return link.problem


def switching(link: Link, busy: Callable[[], bool], ca: Callable[[], Path]) -> Callable[[Path, float], Awaitable[None]]:
    """Goes over to another certificate and to the CAs that are trusted then.

    When no round needs the connection, or when its time is up.
    """

    async def switch(path: Path, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while busy() and link.connected:  # noqa: ASYNC110 - rounds have no event for their end, once in weeks
                    await asyncio.sleep(0.5)
        link.use(path, path, ca())

    return switch


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
