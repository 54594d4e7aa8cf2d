"""What a verify run comes to, in one line: for the terminal and for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from cli.show.grid import counted, live
from cli.show.held import baselined, below
from cli.show.render import parse_time, plural
from coordinator.api.responses.estate import Counts, Coverage, Finding
from coordinator.api.responses.runs import FinishedRun, Verified

_WORDS = {"pass": "PASS", "fail": "FAIL"}


def headwords(run: FinishedRun) -> tuple[str, str]:
    """`FAIL` and `1 unexpected path · 4 environments, 1,284 cells, 99.8% proven · 4.2 s`."""
    result, coverage = run.result, run.coverage
    started, finished = parse_time(result.started), parse_time(result.finished)
    took = f"{(finished - started).total_seconds():.1f} s" if started and finished else ""
    environments = {name for pair in coverage.pairs for name in (pair.source, pair.destination)}
    # What another topology would make fail is no finding yet.
    what = _counts([] if result.what_if else live(result.findings), result.summary, coverage)
    took = "nothing was sent" if result.what_if else took
    parts = (what, counted(coverage, len(environments)), _reused(result), took, _cut(run))
    return _WORDS.get(result.result, "UNPROVEN"), " · ".join(filter(None, parts))


def _counts(failing: Sequence[Finding], summary: Counts, coverage: Coverage) -> str:
    kinds = [finding.kind for finding in failing]
    open_cells = coverage.inconclusive + coverage.stale + coverage.not_run
    known, low = baselined(summary), below(summary)
    parts = [
        plural(kinds.count("unexpected-path"), "unexpected path") if "unexpected-path" in kinds else "",
        plural(kinds.count("missing-path"), "missing path") if "missing-path" in kinds else "",
        plural(summary.fail, "failing cell") if summary.fail and not kinds else "",
        f"{plural(coverage.inconclusive, 'cell')} inconclusive" if coverage.inconclusive else "",
        f"{plural(coverage.not_run, 'cell')} not run" if coverage.not_run else "",
    ]
    said = ", ".join(filter(None, parts)) or ("nothing fails" if open_cells or known or low else "all as declared")
    let_be = (
        f", {plural(known, 'cell')} known to fail" if known else "",
        f", {plural(low, 'failing cell')} below the threshold" if low else "",
    )
    return said + "".join(let_be)


def _reused(result: Verified) -> str:
    reused = result.reused
    if not reused or not reused.cells:
        return ""
    oldest, finished = parse_time(reused.oldest), parse_time(result.finished)
    age = f", up to {(finished - oldest).total_seconds():.0f} s old" if oldest and finished else ""
    return f"{reused.cells:,} of them not probed again{age}"


def _cut(run: FinishedRun) -> str:
    return "cut off before it was through" if run.ended else ""
