"""What --since and --until name."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from cli.report.period import moment

NOW = datetime(2026, 11, 23, 12, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30d", "2026-10-24T12:06:07Z"),
        ("1.5h", "2026-11-23T10:36:07Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T06:00:00+02:00", "2026-11-01T04:00:00Z"),
        (None, None),
    ],
)
def test_a_time_a_day_or_so_long_ago(text: str | None, at: str | None) -> None:
    assert moment(text, NOW, what="--since") == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "30", "400d", "-5d", "2026-13-01", "2026-11-01T06:00:00", "20261101"]
)
def test_anything_else_is_named_with_what_can_be_written(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        moment(text, NOW, what="--until")
    assert caught.value.message == (
        f"--until: '{text}' is not a time; write 30d (ago, at most 366d), 2026-11-01 (UTC) or 2026-11-01T06:00:00Z"
    )
