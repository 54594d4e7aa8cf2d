"""Blackout windows: whether a moment lies in one. Cron's five fields, in a time zone, through daylight saving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from reachability.topology import Blackout

MINUTE = timedelta(minutes=1)
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
SUNDAY = 7


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
        if local.minute not in self.minutes or local.hour not in self.hours or local.month not in self.months:
            return False
        day, weekday = local.day in self.days, local.isoweekday() % SUNDAY in self.weekdays
        return (day or weekday) if self.either_day else (day and weekday)


def active_blackout(blackouts: Iterable[Blackout], now: datetime) -> Blackout | None:
    """The first window that `now` (an aware time) lies in; ValueError for a broken expression or unknown zone."""
    return next((blackout for blackout in blackouts if _is_open(blackout, now)), None)


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


def _is_open(blackout: Blackout, now: datetime) -> bool:
    """Whether it opened at most `for_s` ago: looked at minute by minute, so that changes of the clock are seen."""
    cron, local_zone = _parsed(blackout.cron), zone(blackout.timezone)
    moment = now.astimezone(UTC)
    minute = moment.replace(second=0, microsecond=0)
    while (moment - minute).total_seconds() < blackout.for_s:
        local = minute.astimezone(local_zone).replace(tzinfo=None)
        before = (minute - MINUTE).astimezone(local_zone).replace(tzinfo=None)
        if cron.fires(local):
            return True
        # Minutes that the clock skipped in spring count as if they had been, in the minute after them.
        while (local := local - MINUTE) > before:
            if cron.fires(local):
                return True
        minute -= MINUTE
    return False


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
