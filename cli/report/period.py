"""What --since and --until name: a time, a day, or so long ago."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from coordinator.topology.scalars import parse_duration, parse_instant

_DAY = "2026-11-01"


def moment(text: str | None, now: datetime, *, what: str) -> str | None:
    """`30d` (ago), `2026-11-01` (its midnight, UTC) or an RFC 3339 time, as the API takes it; UsageError for anything else."""
    if text is None:
        return None
    try:
        if "-" in text:
            at = parse_instant(f"{text}T00:00:00Z" if len(text) == len(_DAY) else text)
        else:
            at = now - timedelta(seconds=parse_duration(text))
    except ValueError:
        raise click.UsageError(
            f"{what}: '{text}' is not a time; write 30d (ago, at most 366d), {_DAY} (UTC) or {_DAY}T06:00:00Z"
        ) from None
    return at.isoformat().replace("+00:00", "Z")
