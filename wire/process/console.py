"""A log line that goes to a terminal: what others said in it moves no cursor. JSON escapes it anyhow."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from reachability.texts import clean_lines


def cleaned(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog; what is no text is shown by its repr. A traceback keeps its lines."""
    return {name: clean_lines(value) if isinstance(value, str) else value for name, value in event.items()}
