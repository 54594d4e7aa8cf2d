"""Judges rounds in a thread, one after the other: however many rows a round has, messages, stops and answers go on meanwhile.

The event loop sees an outcome whole or not at all, and outcomes in the order in which they were asked for. The thread gets
values that nobody changes; what it reads of the store it reads by a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from coordinator.state.concluding import JudgedRow, judged_of, rounds_of
from coordinator.state.estate import Estate
from coordinator.store import StoreError
from coordinator.store.reader import reading
from reachability.evidence import Conclusion
from reachability.life import Event
from reachability.round_data import RoundData

log = structlog.get_logger("estate")


class Judging:
    """Takes what rounds show into the estate. `events` gets what that did to the findings.

    `faults` counts, by source, what could not be judged ("" where the store did not give it): cells stay as they were.
    """

    def __init__(self, estate: Estate, events: Callable[[tuple[Event, ...]], None] = lambda _: None) -> None:
        self.faults: Counter[str] = Counter()
        self._estate, self._events = estate, events
        self._turn = asyncio.Lock()
        self._began_at: float | None = None  # with the one that is being judged, by the loop's clock
        self._late: dict[str, None] = {}
        self._wanted = asyncio.Event()

    async def conclude(self, rounds: Sequence[RoundData], *, pending: bool = False) -> Conclusion:
        """Take what a round and its follow-ups show into matrix, store and findings; `pending` as `evidence.conclude` has it.

        Whoever is cancelled meanwhile leaves it to `catch_up`: the reports are in the store.
        """
        try:
            reports = self._estate.store.reports
            async with self._turn:
                return await self._conclude(rounds, reports, pending=pending)
        except asyncio.CancelledError:
            self.again(rounds[0].spec.round)
            raise

    def again(self, round_id: str) -> None:
        """A report came in after its round was judged: it is judged again, soon, with all that is held of it then."""
        self._late[round_id] = None
        self._wanted.set()

    async def run(self) -> None:
        """Judge again, for ever, what `again` asks for; first what was stored and not judged before the coordinator ended."""
        for round_id in self._estate.store.unjudged():
            self.again(round_id)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Returns when all is judged that `again` has asked for before."""
        for round_id in list(self._late):
            async with self._turn:  # for each: a round that has ended meanwhile waits for one, not for all
                if round_id in self._late:
                    await self._conclude_again(round_id)
        async with self._turn:  # the last of it may be under way
            pass

    def stalled_s(self) -> float:
        """How long the round that is being judged has been; 0 while none is."""
        return 0.0 if self._began_at is None else asyncio.get_running_loop().time() - self._began_at

    async def _conclude_again(self, round_id: str) -> None:
        del self._late[round_id]
        path, reports = self._estate.store.path, self._estate.store.reports
        try:
            if rounds := await asyncio.to_thread(_held, path, round_id):
                await self._conclude(rounds, reports, pending=False)
        except asyncio.CancelledError:
            self._late[round_id] = None
            raise
        except StoreError as error:
            log.error("a round cannot be judged again", round=round_id, problem=str(error))  # noqa: TRY400 - in words
            self.faults[""] += 1
            self._late[round_id] = None  # with the next that comes

    async def _conclude(self, rounds: Sequence[RoundData], reports: int, *, pending: bool) -> Conclusion:
        estate, spec = self._estate, rounds[0].spec
        self._began_at = asyncio.get_running_loop().time()
        try:
            events = None
            while events is None:
                two = estate.holders.two()
                conclusion, rows = await asyncio.to_thread(_judged, rounds, two, pending=pending)
                # What was doubted meanwhile is not proven by it.
                events = await estate.take_judged(spec, rows, partial(_are_known, estate, two))
            self._events(events)
            if not (estate.problem or (pending and conclusion.followups)):  # else once more after a restart
                await estate.saved(lambda: estate.store.judged([data.spec.round for data in rounds], reports))
        except Exception:  # what one report holds must end no daemon
            log.exception("a round cannot be judged, please report it", round=spec.round, source=spec.source)
            self.faults[spec.source] += 1
            return Conclusion(cells=())
        else:
            return conclusion
        finally:
            self._began_at = None


def _judged(rounds: Sequence[RoundData], two: frozenset[str], *, pending: bool) -> tuple[Conclusion, list[JudgedRow]]:
    return judged_of([replace(data, two_holders=data.two_holders | two) for data in rounds], pending=pending)


def _are_known(estate: Estate, two: frozenset[str]) -> bool:
    """Whether none but these have turned out to be two processes."""
    return estate.holders.two() <= two


def _held(path: Path, round_id: str) -> list[RoundData]:
    with reading(path) as reader:
        return rounds_of(reader.group_of(round_id))
