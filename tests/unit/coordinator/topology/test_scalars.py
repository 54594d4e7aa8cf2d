"""Ways to write when a waiver ends: each is one moment with a zone, or is refused with what to write."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from coordinator.topology.scalars import parse_instant

SUCH_AS = "is not a time; write one such as 2027-01-31T00:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        *("2027-01-31T00:00:00Z", "2027-01-31t00:00:00Z", "2027-01-31 00:00:00Z", "2027-01-31T00:00Z"),
        *(
            "2027-01-31T01:00:00+01:00",
            "2027-01-31T01:00+0100",
            "2027-01-30T19:00:00-05:00",
            "2027-01-31T05:45:00+05:45",
        ),
        *("2027-01-31T00:00:00.000Z", "20270131T000000Z", "2027-W04-7T00:00:00Z"),
    ],
)
def test_an_instant_is_the_same_however_it_is_written(text: str) -> None:
    assert parse_instant(text) == datetime(2027, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2027-01-31", "has no time zone; write 2027-01-31T00:00:00Z for UTC"),
        ("2027-01-31T00:00:00", "has no time zone; write 2027-01-31T00:00:00Z for UTC"),
        *(
            (text, SUCH_AS)
            for text in ("2027-01-31T23:59:60Z", "2027-01-31T00:00:00 UTC", "2027-02-29T00:00:00Z", "2027")
        ),
        *((text, SUCH_AS) for text in ("31.01.2027", "01/31/2027", "1801353600", "never", "2027-13-01T00:00:00Z")),
        ("٢٠٢٧-01-31T00:00:00Z", SUCH_AS),
        ("9999-12-31T23:59:59-01:00", "is beyond the calendar; write one such as 2027-01-31T00:00:00Z"),
    ],
)
def test_what_is_no_instant_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{text}' {message}")):
        parse_instant(text)
