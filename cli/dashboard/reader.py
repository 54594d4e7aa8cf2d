"""Where the dashboard gets what it shows."""

from __future__ import annotations

from typing import Any, Protocol


class Reader(Protocol):
    """What the dashboard needs of `cli.client.Client`."""

    def get(self, path: str, **query: str | int | None) -> Any:
        """A body of the API."""
