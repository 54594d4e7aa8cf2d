"""Where the dashboard gets what it shows."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Reader(Protocol):
    """What the dashboard needs of `cli.client.Client`."""

    def get(self, path: str, kind: type[T], /, **query: str | int | None) -> T:
        """An answer of the API."""
