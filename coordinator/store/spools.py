"""What came from each agent's spool, once, and what of it never will: gaps, which are kept and shown for good.

A spool's sequences are held without a hole up to `acknowledged`; above a hole they are ranges in `held`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from wire.bounds import MOST_NUMBER

MOST_HOLES = 4096  # per spool; a batch that would make one more waits until some are closed
MOST_SPOOLS = 256  # per agent; a state directory that is made anew at each start is a new spool each time
MOST_GAPS = 256  # per agent; the oldest fold into one


class _Key(NamedTuple):
    agent: str
    spool: str


# An acknowledgement up to there, the largest that an agent takes, tells a spool that it was set back: it goes on under another id.
NEVER_SENT = MOST_NUMBER
MOST_COUNT = 2**62  # what an agent says, added up, still fits
MOST_WORDS = 8  # an agent knows four
GONE = "gone"  # why, where the agent does not say: a restored store or spool, or an older agent


class TooManyHolesError(Exception):
    """The spool leaves out more sequences than anybody loses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Sequences of a spool that are lost: `batches` of those from `first` to `last`. Times are epoch seconds.

    `why` has of bytes, age, disk, size (the agent says so), gone (it says nothing) and unknown (`coordinator.store.strays`)
    those that it was, with commas.
    Where gaps of several spools were folded, `spool` is "" and `first` and `last` are 0.
    """

    spool: str
    first: int
    last: int
    batches: int
    reports: int
    since: float
    until: float
    why: str
    agent: str = ""
    noticed: float = 0.0


@dataclass(frozen=True, slots=True)
class Losses:
    """All gaps of an agent together."""

    batches: int = 0
    reports: int = 0
    since: float = 0.0
    until: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a batch."""

    new: bool  # it was not known, and is held now
    acknowledged: int  # up to there all of its spool is held or lost
    lost: tuple[Gap, ...] = ()  # what has turned out to be
    set_back: bool = False  # its sequence was another batch's: an older copy of the spool's file is in use


class Spools:
    """The tables spools, held and gaps, within transactions of the caller."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def take(
        self, agent: str, spool: str, sequence: int, oldest: int, gaps: Iterable[Gap], at: float, now: float, age: float
    ) -> Taken:
        """Count a batch, the gaps that came with it, and what is missing below its oldest.

        `at` is when the batch was made, `age` history's by which spools are forgotten; one that is not known begins at its oldest.
        """
        told = sorted(gaps, key=lambda gap: gap.first)
        lowest = min(oldest, sequence, *(gap.first for gap in told))
        key = _Key(agent, spool)
        acknowledged = self._open(key, lowest - 1, age)
        lost: list[Gap] = []
        for gap in told:
            runs = list(self._missing(key, acknowledged, gap.first, gap.last))
            missing, whole = sum(last - first + 1 for first, last in runs), gap.last - gap.first + 1
            for first, last in runs:
                count = last - first + 1
                share = (
                    gap.reports - (whole - missing) if len(runs) == 1 else count
                )  # a batch holds a report, as a rule
                lost.append(replace(gap, first=first, last=last, batches=count, reports=max(share, 0)))
            self._hold(key, gap.first, gap.last)
        below = min(oldest, sequence) - 1
        for first, last in list(self._missing(key, acknowledged, 1, below)):
            count = last - first + 1
            lost.append(
                Gap(spool=spool, first=first, last=last, batches=count, reports=count, since=at, until=at, why=GONE)
            )
            self._hold(key, first, last)
        new = any(self._missing(key, acknowledged, sequence, sequence))
        if new:
            self._hold(key, sequence, sequence)
        acknowledged = self._settle(key, acknowledged, age)
        lost = [replace(gap, agent=agent, noticed=now) for gap in lost]
        for gap in lost:
            self.lose(gap)
        return Taken(new, acknowledged, tuple(lost))

    def gaps(self) -> list[Gap]:
        """Every gap, the newest first."""
        return [_gap(row) for row in self._db.execute(f"{_SELECT} ORDER BY noticed DESC, id DESC")]

    def is_lost(self, agent: str, spool: str, sequence: int) -> bool:
        """Whether a gap has it."""
        rows = "SELECT 1 FROM gaps WHERE agent = ? AND spool = ? AND first <= ? AND last >= ?"
        return self._db.execute(rows, (agent, spool, sequence, sequence)).fetchone() is not None

    def losses(self) -> dict[str, Losses]:
        """Agent to all that was lost of it."""
        found: dict[str, Losses] = {}
        for gap in reversed(self.gaps()):
            found[gap.agent] = added(found.get(gap.agent, Losses()), gap)
        return found

    def forget_silent(self, before: float) -> None:
        """Spools not heard of for so long that they never will be."""
        for key in self._db.execute("SELECT agent, spool FROM spools WHERE heard < ?", (before,)).fetchall():
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        self._db.execute("DELETE FROM held WHERE agent = ? AND spool = ?", key)
        self._db.execute("DELETE FROM spools WHERE agent = ? AND spool = ?", key)

    def _open(self, key: _Key, before: int, age: float) -> int:
        row = self._db.execute("SELECT acknowledged FROM spools WHERE agent = ? AND spool = ?", key).fetchone()
        if row is not None:
            return int(row[0])
        self._db.execute("INSERT INTO spools VALUES (?, ?, ?, ?)", (*key, before, age))
        too_many = self._db.execute(
            "SELECT agent, spool FROM spools WHERE agent = ? ORDER BY heard DESC, rowid DESC LIMIT -1 OFFSET ?",
            (key.agent, MOST_SPOOLS),
        ).fetchall()
        for old in too_many:
            self._forget(old)
        return before

    def _missing(self, key: _Key, acknowledged: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The runs of sequences between the two that are neither held nor lost."""
        at = max(first, acknowledged + 1)
        rows = self._db.execute(
            "SELECT first, last FROM held WHERE agent = ? AND spool = ? AND last >= ? AND first <= ? ORDER BY first",
            (*key, at, last),
        ).fetchall()
        for begin, end in rows:
            if begin > at:
                yield at, begin - 1
            at = max(at, end + 1)
        if at <= last:
            yield at, last

    def _hold(self, key: _Key, first: int, last: int) -> None:
        """One more range; those that touch are one."""
        touching = self._db.execute(
            "SELECT first, last FROM held WHERE agent = ? AND spool = ? AND last >= ? AND first <= ?",
            (*key, first - 1, last + 1),
        ).fetchall()
        for begin, end in touching:
            self._db.execute("DELETE FROM held WHERE agent = ? AND spool = ? AND first = ?", (*key, begin))
            first, last = min(first, begin), max(last, end)
        if not touching:
            (count,) = self._db.execute("SELECT COUNT(*) FROM held WHERE agent = ? AND spool = ?", key).fetchone()
            if count >= MOST_HOLES:
                raise TooManyHolesError(f"spool {key.spool} leaves out sequences in more than {MOST_HOLES} places")
        self._db.execute("INSERT INTO held VALUES (?, ?, ?, ?)", (*key, first, last))

    def _settle(self, key: _Key, acknowledged: int, age: float) -> int:
        rows = self._db.execute(
            "DELETE FROM held WHERE agent = ? AND spool = ? AND first <= ? RETURNING last", (*key, acknowledged + 1)
        ).fetchall()
        acknowledged = max((acknowledged, *(last for (last,) in rows)))
        self._db.execute(
            "UPDATE spools SET acknowledged = ?, heard = ? WHERE agent = ? AND spool = ?", (acknowledged, age, *key)
        )
        return acknowledged

    def lose(self, gap: Gap) -> None:
        """Keep a gap. One that goes on from the newest of its spool is part of it; of too many the two oldest are one."""
        newest = self._db.execute(f"{_SELECT} WHERE agent = ? ORDER BY id DESC LIMIT 1", (gap.agent,)).fetchone()
        before = None if newest is None else _gap(newest)
        if before is not None and (before.spool, before.last) == (gap.spool, gap.first - 1):
            self._db.execute("DELETE FROM gaps WHERE id = ?", (newest[-1],))
            gap = _both(before, gap)
        self._insert(gap)
        (count,) = self._db.execute("SELECT COUNT(*) FROM gaps WHERE agent = ?", (gap.agent,)).fetchone()
        if count > MOST_GAPS:
            first, second = self._db.execute(f"{_SELECT} WHERE agent = ? ORDER BY id LIMIT 2", (gap.agent,)).fetchall()
            self._db.execute("DELETE FROM gaps WHERE id IN (?, ?)", (first[-1], second[-1]))
            self._insert(_both(_gap(first), _gap(second)), first[-1])

    def _insert(self, gap: Gap, number: int | None = None) -> None:
        self._db.execute(
            "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number, gap.agent, gap.spool, gap.first, gap.last, gap.batches, gap.reports, gap.since, gap.until, gap.why,
                gap.noticed,
            ),
        )  # fmt: skip


_SELECT = "SELECT agent, spool, first, last, batches, reports, since, until, why, noticed, id FROM gaps"


def _gap(row: tuple[str, str, int, int, int, int, float, float, str, float, int]) -> Gap:
    agent, spool, first, last, batches, reports, since, until, why, noticed, _ = row
    return Gap(
        agent=agent, spool=spool, first=first, last=last, batches=batches, reports=reports, since=since, until=until,
        why=why, noticed=noticed,
    )  # fmt: skip


def _both(old: Gap, new: Gap) -> Gap:
    same = old.spool == new.spool != ""
    return replace(
        new,
        spool=old.spool if same else "",
        first=min(old.first, new.first) if same else 0,
        last=max(old.last, new.last) if same else 0,
        batches=min(old.batches + new.batches, MOST_COUNT),
        reports=min(old.reports + new.reports, MOST_COUNT),
        since=min(old.since, new.since),
        until=max(old.until, new.until),
        why=_words(old.why, new.why),
    )


def added(losses: Losses, gap: Gap) -> Losses:
    """The losses of an agent with one gap more."""
    return Losses(
        batches=losses.batches + gap.batches,
        reports=losses.reports + gap.reports,
        since=min(losses.since, gap.since) if losses.batches else gap.since,
        until=max(losses.until, gap.until),
        why=_words(losses.why, gap.why),
    )


def _words(*texts: str) -> str:
    return ",".join(sorted({word for text in texts for word in text.split(",") if word})[:MOST_WORDS])
