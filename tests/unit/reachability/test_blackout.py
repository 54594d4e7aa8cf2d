from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from reachability import blackout
from reachability.blackout import Cron, active_blackout, in_words, never_opens, open_until
from reachability.topology import Blackout


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SUNDAY_NIGHT = Blackout("0 2 * * 0", 2 * 3600.0, "Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "open_"),
    [
        ("2026-11-22T00:59:59", False),  # 01:59:59 in Berlin
        ("2026-11-22T01:00:00", True),
        ("2026-11-22T02:59:59", True),
        ("2026-11-22T03:00:00", False),
        ("2026-11-23T01:30:00", False),  # Monday
        ("2026-03-29T01:00:00", True),  # 02:00 did not exist: the clock went from 02:00 to 03:00
        ("2026-03-29T02:59:59", True),
        ("2026-03-29T03:00:00", False),
    ],
)
def test_a_window_in_its_zone(now: str, open_: bool) -> None:
    assert (active_blackout([SUNDAY_NIGHT], at(now)) is SUNDAY_NIGHT) is open_


def test_an_hour_that_comes_twice_opens_it_twice() -> None:
    assert active_blackout([SUNDAY_NIGHT], at("2026-10-25T00:00:00"))
    assert active_blackout([SUNDAY_NIGHT], at("2026-10-25T02:59:00"))
    assert not active_blackout([SUNDAY_NIGHT], at("2026-10-25T03:00:00"))


@pytest.mark.parametrize(
    ("cron", "for_s", "now", "open_"),
    [
        # Spring, Berlin, 29 March 2026: at 01:00 UTC 02:00 becomes 03:00. A window that would begin in the gap begins after it.
        ("30 2 * * *", 600.0, "2026-03-29T01:00:00", True),
        ("30 2 * * *", 600.0, "2026-03-29T01:09:59", True),
        ("30 2 * * *", 600.0, "2026-03-29T01:10:00", False),
        ("30 2 * * *", 600.0, "2026-03-29T00:59:59", False),
        ("30 1 * * *", 3600.0, "2026-03-29T01:29:59", True),  # an hour is an hour: 01:30 to 03:30 by the wall
        ("30 1 * * *", 3600.0, "2026-03-29T01:30:00", False),
        ("0 3 * * *", 600.0, "2026-03-29T01:05:00", True),
        # Autumn, 25 October 2026: 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC.
        ("30 2 * * *", 600.0, "2026-10-25T00:35:00", True),
        ("30 2 * * *", 600.0, "2026-10-25T00:45:00", False),
        ("30 2 * * *", 600.0, "2026-10-25T01:35:00", True),
        ("30 1 * * *", 7200.0, "2026-10-25T01:29:59", True),  # two hours from 01:30: until 02:30 winter time
        ("30 1 * * *", 7200.0, "2026-10-25T01:30:00", False),
    ],
)
def test_gaps_and_folds(cron: str, for_s: float, now: str, open_: bool) -> None:
    window = Blackout(cron, for_s, "Europe/Berlin")
    assert (active_blackout([window], at(now)) is window) is open_


@pytest.mark.parametrize(
    ("cron", "moment", "fires"),
    [
        ("*/15 * * * *", "2026-01-01T10:45", True),
        ("*/15 * * * *", "2026-01-01T10:46", False),
        ("5-10/2,30 * * * *", "2026-01-01T10:09", True),
        ("5-10/2,30 * * * *", "2026-01-01T10:10", False),
        ("0 0 1 * 1", "2026-11-23T00:00", True),  # a Monday, not the first
        ("0 0 1 * 1", "2026-12-01T00:00", True),  # the first, a Tuesday
        ("0 0 1 * *", "2026-11-23T00:00", False),
        ("0 0 * * 7", "2026-11-22T00:00", True),
        ("50/5 * * * *", "2026-11-22T00:55", True),
        ("0 0 1 2 *", "2026-01-01T00:00", False),
    ],
)
def test_fields(cron: str, moment: str, fires: bool) -> None:
    assert Cron.parse(cron).fires(datetime.fromisoformat(moment)) is fires


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 2 * *", "four"),
        ("60 * * * *", "'60' is not a number from 0 to 59 in cron's minute"),
        ("5-1 * * * *", "reversed"),
        ("a * * * *", "'a' is not a number"),
        ("*/0 * * * *", "'0' is not a number from 1"),
        ("", "0 fields"),
    ],
)
def test_what_is_not_cron(cron: str, message: str) -> None:
    with pytest.raises(ValueError, match=message if message != "four" else "has 4 fields; cron has five"):
        Cron.parse(cron)


def test_an_unknown_zone_is_said() -> None:
    with pytest.raises(ValueError, match="'Mars/Base' is not a time zone"):
        active_blackout([Blackout("* * * * *", 60.0, "Mars/Base")], at("2026-01-01T00:00"))


def test_utc_needs_no_zone_data_and_none_is_open_without_windows() -> None:
    assert active_blackout([Blackout("* * * * *", 60.0)], at("2026-01-01T00:00"))
    assert active_blackout([], at("2026-01-01T00:00")) is None


@pytest.mark.parametrize(
    ("cron", "never"),
    [("0 0 31 2 *", True), ("0 0 31 4,6 *", True), ("0 0 29 2 *", False), ("0 0 29 2 1", False), ("0 0 31 2 1", False)],
)
def test_a_date_that_no_year_has_never_opens(cron: str, never: bool) -> None:
    assert never_opens(Blackout(cron, 3600.0), at("2026-11-30T00:00")) is never


@pytest.mark.parametrize(
    ("windows", "days"),
    [
        ([("*/5 * * * *", 600.0)], 10),
        ([("0 0 * * *", 86400.0)], 365),
        ([("0 0 * * *", 43200.0), ("0 12 * * *", 43200.0)], 365),  # each alone leaves half of the day
        ([("0 0 1 1 *", 366 * 86400.0)], 365),
    ],
)
def test_windows_without_a_gap(windows: list[tuple[str, float]], days: int) -> None:
    now = at("2026-11-30T10:00")
    until = open_until([Blackout(*window) for window in windows], now)
    assert until is not None
    assert until - now > timedelta(days=days)


def test_when_windows_leave_a_gap() -> None:
    now = at("2026-11-22T01:30:00")
    assert open_until([SUNDAY_NIGHT], now) == at("2026-11-22T03:00:00")
    assert open_until([SUNDAY_NIGHT, Blackout("0 3 * * *", 3600.0)], now) == at("2026-11-22T04:00:00")
    assert open_until([SUNDAY_NIGHT], at("2026-11-23T01:30:00")) is None


def test_the_work_for_a_window_of_a_year_is_that_of_its_days(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[datetime] = []
    fires = Cron.fires

    def counted(cron: Cron, local: datetime) -> bool:
        looked.append(local)
        return fires(cron, local)

    monkeypatch.setattr(blackout.Cron, "fires", counted)
    window = Blackout("30 2 1 1 *", 365 * 86400.0, "Europe/Berlin")
    assert active_blackout([window], at("2026-12-31T12:00:00")) is window
    assert len(looked) < 4000, "365 days have 525,600 minutes"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kolkata"])
@pytest.mark.parametrize("cron", ["30 2 * * 0", "59 23 1 * *", "0 0 * 3,10 *", "15 1,2 25-31 * *"])
def test_leaps_find_what_a_walk_by_minutes_finds(cron: str, zone: str) -> None:
    """Every beginning of a window around the changes of the clock, against a walk that leaps over nothing."""
    parsed, known = Cron.parse(cron), blackout.zone(zone)
    window = Blackout(cron, 3 * 86400.0, zone)
    for change in ("2026-03-29T04:00", "2026-04-05T04:00", "2026-10-04T04:00", "2026-10-25T04:00", "2026-11-01T08:00"):
        for hours in (0, 5, 30, 71):
            now = at(change) + timedelta(hours=hours, minutes=7)
            assert is_open_by_minutes(parsed, known, window, now) is (active_blackout([window], now) is window)


def is_open_by_minutes(parsed: Cron, known: tzinfo, window: Blackout, now: datetime) -> bool:
    minute = now.replace(second=0)
    while (now - minute).total_seconds() < window.for_s:
        local = minute.astimezone(known).replace(tzinfo=None)
        before = (minute - timedelta(minutes=1)).astimezone(known).replace(tzinfo=None)
        skipped = [local]
        while skipped[-1] - timedelta(minutes=1) > before:
            skipped.append(skipped[-1] - timedelta(minutes=1))
        if any(parsed.fires(one) for one in skipped):
            return True
        minute -= timedelta(minutes=1)
    return False


def test_a_window_is_named_as_the_topology_has_it() -> None:
    window = Blackout("0 2 * * 0", 7200.0, "Europe/Berlin")
    assert in_words(window) == "a blackout is open: '0 2 * * 0' for 2:00:00, Europe/Berlin"
