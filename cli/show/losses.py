"""Reports that were lost, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cli.show.render import clean, clock, plural

Body = Mapping[str, Any]
_WHY = {
    "bytes": "its spool was full",
    "age": "it could not send them for too long",
    "disk": "its disk was full",
    "size": "too large for a message",
    "gone": "it does not say why",
}


def lost_line(agent: str, lost: Body, when: Callable[[str | None], str] = clock) -> str:
    """`dev-1: 12 reports lost, made 10:00:01 to 10:03:00 UTC (its spool was full)`; `when` writes the times."""
    why = ", ".join(_WHY.get(word, clean(word)) for word in lost["why"])
    times = " to ".join(dict.fromkeys((when(lost["from"]), when(lost["to"]))))
    return f"{agent}: {plural(lost['reports'], 'report')} lost, made {times} UTC ({why})"
