"""A run as docs/reliability.md keeps it: Markdown, a line a kind of fault, then what must not be and how often it was."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.plan import KINDS
from tests.chaos.run import Entry, Run


def table(run: Run) -> str:
    """The whole run."""
    return "\n".join(_lines(run))


def _lines(run: Run) -> Iterator[str]:
    seen, balance = run.verdicts, run.balance
    yield f"{len(run.entries)} faults in {run.seconds:.0f} s; CHAOS_SEED={run.seed} has them again."
    yield ""
    yield "| fault | times | lasted, s | all well again | the slowest after, s |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        mine = [entry for entry in run.entries if entry.planned.kind == kind.name]
        if mine:
            yield _line(kind.name, mine)
    yield _line("all", run.entries)
    holes = [hole for hole in seen.holes if hole.closed != float("inf")]
    yield ""
    yield "| what must be | found |"
    yield "|---|---|"
    yield f"| batches that agents recorded | {balance.recorded} |"
    yield f"| of them in the store exactly once | {balance.taken} |"
    yield f"| of them in a counted gap | {balance.gap} |"
    yield f"| of them on their way when the run ended | {balance.waiting} |"
    yield f"| looks at the matrix, all the while | {seen.polls}, and {run.unanswered} when the coordinator did not answer |"
    yield f"| holes in the firewall that came and went | {len(holes)}, {sum(h.seen_at > 0 for h in holes)} of them seen before they closed or just after |"
    yield f"| cells looked at while their truth was open | {seen.looks} |"
    yield f"| green on evidence from after the truth had opened | {len(seen.false_greens)} |"
    yield f"| red on evidence from when the truth was closed | {len(seen.false_reds)} |"
    yield f"| longest that a green on older evidence outlived its truth, s | {seen.longest_s:.0f} |"
    yield f"| cells held against the truth after a quiet cycle | {run.cells} |"
    yield f"| certificates renewed by agents over their own channel | {run.renewals} |"
    yield f"| processes that ended unasked and were started again | {len(run.exits)} |"
    yield f"| things that were wrong | {len(run.problems)} |"


def _line(name: str, entries: list[Entry]) -> str:
    lasted = [entry.healed - entry.at for entry in entries]
    after = [entry.over - entry.healed for entry in entries if entry.over]
    slowest = f"{max(after):.0f}" if after else "–"
    return f"| {name} | {len(entries)} | {min(lasted):.0f}–{max(lasted):.0f} | {len(after)} | {slowest} |"
