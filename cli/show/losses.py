"""Reports that were lost, in words."""

from __future__ import annotations

from collections.abc import Callable

from cli.show.render import clean, clock, plural
from coordinator.api.responses.estate import LostReports
from coordinator.api.responses.status import Losses

_WHY = {
    "bytes": "its spool was full",
    "age": "it could not send them for too long",
    "disk": "its disk was full",
    "size": "too large for a message",
    "gone": "it does not say why",
    "unknown": "of rounds that the coordinator knows nothing of",
}


def lost_line(agent: str, lost: Losses | LostReports, when: Callable[[str | None], str] = clock) -> str:
    """`dev-1: 12 reports lost, made 10:00:01 to 10:03:00 UTC (its spool was full)`; `when` writes the times."""
    times = " to ".join(dict.fromkeys((when(lost.since), when(lost.until))))
    return f"{agent}: {plural(lost.reports, 'report')} lost, made {times} UTC ({why_lost(lost)})"


def why_lost(lost: Losses | LostReports) -> str:
    """`its spool was full, its disk was full`; "" while nobody knows."""
    return ", ".join(_WHY.get(word, clean(word)) for word in lost.why)
