"""The coordinator in one sentence, for `systemctl status`: who is here, when something was probed last, and what it shows."""

from __future__ import annotations

from coordinator.state.estate import Estate
from reachability.coverage import total
from reachability.vocabulary import Result
from wire.process.progress import ago

_WORDS = (
    (Result.FAIL, "fail"),
    (Result.WAIVED, "waived"),
    (Result.INCONCLUSIVE, "inconclusive"),
    (Result.STALE, "stale"),
    (Result.NOT_RUN, "not run"),
)


def sentence(estate: Estate, problem: str) -> str:
    """`problem` is what keeps it from its work, in words; "" when nothing does."""
    here = sum(state.online for state in estate.agents.values())
    last = max((state.last_round for state in estate.agents.values()), default=0.0)
    when = f"last round {ago(estate.clock() - last)}" if last else "no round yet"
    return f"{f'{problem}; ' if problem else ''}{here} of {len(estate.agents)} agents here, {when}: {_result(estate)}"


def _result(estate: Estate) -> str:
    entry = total(estate.cells())
    counted = {word: entry.results.get(result, 0) for result, word in _WORDS}
    said = [f"{count:,} {word}" for word, count in counted.items() if count]
    if not entry.cells:
        return "nothing to test"
    return f"{entry.cells:,} cells, {', '.join(said)}" if said else f"all {entry.cells:,} cells pass"
