"""What the JSON of the API is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]


def iso(at: float | None) -> str | None:
    """Epoch seconds as `2026-11-23T12:04:07.123Z`; None for none."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
