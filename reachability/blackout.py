"""Blackout windows: whether a moment lies in one. Cron's five fields, in a time zone, through daylight saving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from reachability.topology import Blackout

MINUTE = timedelta(minutes=1)
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
SUNDAY = 7
CALENDAR_DAYS = 41 * 366  # every date meets every weekday within 40 years, also around 2100, which is no leap year
AHEAD_DAYS, AHEAD_STEPS = 366, 20_000  # how far a row of windows is followed


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. Where both days are restricted, either is enough (as crontab(5) has it)."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read the five fields: numbers, `*`, lists, ranges and steps; ValueError says what is wrong."""
        parts = text.split()
        if len(parts) != len(FIELDS):
            raise ValueError(f"'{text}' has {len(parts)} fields; cron has five: minute, hour, day, month, weekday")
        minutes, hours, days, months, weekdays = (
            _field(part, *bounds) for part, bounds in zip(parts, FIELDS, strict=True)
        )
        either = not parts[2].startswith("*") and not parts[4].startswith("*")
        return cls(minutes, hours, days, months, frozenset(day % SUNDAY for day in weekdays), either)

    def fires(self, local: datetime) -> bool:
        """Whether it fires in this minute of local time."""
        if local.minute not in self.minutes or local.hour not in self.hours:
            return False
        return self.fires_on(local)

    def fires_on(self, local: date) -> bool:
        """Whether it fires on this day at all."""
        day, weekday = local.day in self.days, local.isoweekday() % SUNDAY in self.weekdays
        return local.month in self.months and ((day or weekday) if self.either_day else (day and weekday))


def active_blackout(blackouts: Iterable[Blackout], now: datetime) -> Blackout | None:
    """The first window that `now` (an aware time) lies in; ValueError for a broken expression or unknown zone."""
    return next((blackout for blackout in blackouts if _opened(blackout, now)), None)


def zone(name: str) -> tzinfo:
    """The time zone of that name; ValueError when there is none."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - an agent without such a window does without it

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        advice = "write one such as Europe/Berlin" if available_timezones() else "it has no zone files: install tzdata"
        raise ValueError(f"'{name}' is not a time zone that this machine knows; {advice}") from error


def never_opens(blackout: Blackout, now: datetime) -> bool:
    """Whether its expression names dates that no year has."""
    cron, today = Cron.parse(blackout.cron), now.date()
    return not any(cron.fires_on(today + timedelta(days=days)) for days in range(CALENDAR_DAYS))


def open_until(blackouts: Iterable[Blackout], now: datetime) -> datetime | None:
    """When windows that follow each other without a gap leave the first one; None where none is open now.

    It is not followed further than a year, or 20,000 windows.
    """
    windows, until = tuple(blackouts), now
    for _ in range(AHEAD_STEPS):
        opened = ((window.for_s, _opened(window, until)) for window in windows)
        ends = (at + timedelta(seconds=for_s) for for_s, at in opened if at is not None)
        end = max(ends, default=until)
        if end == until or end - now > timedelta(days=AHEAD_DAYS):
            return None if end == now else end
        until = end
    return until


def _opened(blackout: Blackout, now: datetime) -> datetime | None:
    """The last time that it opened, if that is less than `for_s` ago.

    Looked at backwards, minute by minute, so that changes of the clock are seen; days and hours in which it cannot open and the
    clock does not change are leapt over.
    """
    cron, local_zone = _parsed(blackout.cron), zone(blackout.timezone)
    moment = now.astimezone(UTC)
    minute = moment.replace(second=0, microsecond=0)
    while (moment - minute).total_seconds() < blackout.for_s:
        local = minute.astimezone(local_zone).replace(tzinfo=None)
        earlier = minute - _idle(cron, local)
        before = earlier.astimezone(local_zone).replace(tzinfo=None)
        if local - before != minute - earlier:
            earlier = minute - MINUTE
            before = earlier.astimezone(local_zone).replace(tzinfo=None)
            # Minutes that the clock skipped in spring count as if they had been, in the minute after them.
            skipped = local
            while (skipped := skipped - MINUTE) > before:
                if cron.fires(skipped):
                    return minute
        if cron.fires(local):
            return minute
        minute = earlier
    return None


def in_words(window: Blackout) -> str:
    """As a topology has it."""
    return f"a blackout is open: '{window.cron}' for {timedelta(seconds=window.for_s)}, {window.timezone}"


def _idle(cron: Cron, local: datetime) -> timedelta:
    """How far back from this minute the next one is in which it may fire; it is not asked about this minute itself."""
    if not cron.fires_on(local):
        return timedelta(hours=local.hour, minutes=local.minute + 1)
    if local.hour not in cron.hours:
        return timedelta(minutes=local.minute + 1)
    return MINUTE


@lru_cache(maxsize=64)
def _parsed(text: str) -> Cron:
    return Cron.parse(text)


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, name, low, high)
            end = _number(last, name, low, high) if dash else (high if slash else start)
        width = _number(step, name, 1, high) if slash else 1
        if end < start:
            raise ValueError(f"'{part}' is a reversed range in cron's {name}")
        values.update(range(start, end + 1, width))
    return frozenset(values)


def _number(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and low <= int(text) <= high):  # noqa: PLR2004
        raise ValueError(f"'{text}' is not a number from {low} to {high} in cron's {name}")
    return int(text)
