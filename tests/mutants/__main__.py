"""`make mutants`: one fault at a time is put into a copy of the code, and the unit tests must turn red.

A fault that no unit test sees is a hole in the suite; it is named, and the exit code is 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is put in place of `code`, which stands in the file once."""

    what: str
    file: str
    code: str
    fault: str


MUTANTS = (
    Mutant(
        "the verdict's table: row 15 asks for no source control",
        "reachability/verdict.py",
        "if not _controlled(e):\n        return _unknown(Unproven.NO_SOURCE_CONTROL)\n    if e.arrival",
        "if e.arrival is not Arrival.NOT_SEEN and not _controlled(e):\n        return _unknown(Unproven.NO_SOURCE_CONTROL)\n    if e.arrival",
    ),
    Mutant(
        "the verdict's table: whatever refused every copy is a policy",
        "reachability/verdict.py",
        "e.prohibited >= e.sent >= THREE_FLOWS",
        "e.refused >= e.sent >= THREE_FLOWS",
    ),
    Mutant(
        "the verdict's table: a RST from as far as the host is the path's",
        "reachability/distance.py",
        "if hops < host_hops",
        "if hops <= host_hops",
    ),
    Mutant(
        "the verdict's table: a host's RST by a shorter way back is the path's",
        "reachability/distance.py",
        "return hops < min(",
        "return hops < max(",
    ),
    Mutant(
        "the verdict's table: a RST that crossed is no breach",
        "reachability/verdict.py",
        "    if e.arrival is Arrival.SEEN:\n        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=5,",
        "    if e.arrival is Arrival.SEEN:\n        return Verdict(reachability=Reachability.BLOCKED, proof=Proof.REPLIED, row=5,",
    ),
    Mutant(
        "the verdict's table: a port that is silent from inside is a control",
        "reachability/verdict.py",
        "return e.inside in {State.OPEN, State.CLOSED}",
        "return e.inside in {State.OPEN, State.CLOSED, State.FILTERED}",
    ),
    Mutant(
        "the loss rule: the number of cells does not count",
        "reachability/loss.py",
        "math.log(MOST_MISSED / (cells + MOST_MISSED))",
        "math.log(MOST_MISSED / (1 + MOST_MISSED))",
    ),
    Mutant(
        "the loss rule: a group that loses more is diluted by the rest",
        "reachability/loss.py",
        "if rest is not None and lower_bound(mine, gone) > rest:",
        "if rest is not None and lower_bound(mine, gone) > 2 * rest + 1:",
    ),
    Mutant(
        "the spread: silence of a moment is proof",
        "reachability/spread.py",
        "if not silent or (e.span_s or 0.0) >= SLACK * spread_s or",
        "if not silent or e.span_s or",
    ),
    Mutant(
        "the spread: copies that count for nothing make it longer",
        "reachability/spread.py",
        "counted = [o for o in observations if o.covered] or observations",
        "counted = observations",
    ),
    Mutant(
        "several next hops: a control by one of them is enough",
        "probes/source/pair.py",
        "return all(coverage.covers(key",
        "return any(coverage.covers(key",
    ),
    Mutant(
        "the loss rule: ports that came at their last try count as if all were known",
        "reachability/loss.py",
        "Counted(sent if sent < most else 0, lost)",
        "Counted(sent, lost)",
    ),
    Mutant(
        "the loss rule: a host is judged by controls elsewhere",
        "reachability/measured.py",
        "bound = worst([own, *mine], others)",
        "bound = worst([own], others)",
    ),
    Mutant(
        "a challenge: what was not seen to leave is missed",
        "reachability/challenge.py",
        "HIDDEN * on <= sum(shown(slots, sent))",
        "HIDDEN * on <= on",
    ),
    Mutant(
        "a challenge: what it lost itself counts for nothing",
        "reachability/challenged.py",
        "else max(loss, lost)",
        "else loss",
    ),
    Mutant(
        "the fold: waived cells fold with failing ones",
        "reachability/fold.py",
        'waiver = cell.waiver.id if cell.result is Result.WAIVED and cell.waiver is not None else ""',
        'waiver = ""',
    ),
    Mutant(
        "the fold: hosts are not folded",
        "reachability/fold.py",
        "return tuple(_merge(folds, lambda fold: fold.addresses))",
        "return tuple(folds)",
    ),
    Mutant(
        "the store's transaction: what failed half-way is committed",
        "coordinator/store/file.py",
        "ROLLBACK",
        "COMMIT",
    ),
    Mutant(
        "the store's transaction: a batch that comes twice is stored twice",
        "coordinator/store/store.py",
        "if taken.new:",
        "if taken:",
    ),
    Mutant(
        "the classifier: an error that it does not know is silence",
        "probes/classify.py",
        "UNKNOWN = Outcome(State.ERROR, Reason.LOCAL_ERROR)",
        "UNKNOWN = Outcome(State.FILTERED, Reason.NO_RESPONSE)",
    ),
    Mutant(
        "the classifier: a missing route is a policy",
        "probes/classify.py",
        "errno.ENETUNREACH: Outcome(State.ERROR, Reason.NO_ROUTE)",
        "errno.ENETUNREACH: Outcome(State.FILTERED, Reason.ADMIN_PROHIBITED)",
    ),
    Mutant(
        "the allow-list: what is denied is probed where it is allowed too",
        "reachability/allow.py",
        "denied = next((network for network in self.deny if parsed in network), None)",
        "denied = next((network for network in self.deny if network not in self.allow and not self.allow), None)",
    ),
    Mutant(
        "the allow-list: what is allowed nowhere is probed",
        "reachability/allow.py",
        "if not any(parsed in network for network in self.allow):",
        "if not self.allow:",
    ),
    Mutant(
        "findings: an answer of what is denied waits for a second round",
        "reachability/steps.py",
        "judged.verdict.row in POSITIVE",
        "judged.verdict.row in frozenset[int]()",
    ),
    Mutant(
        "the declaration: a waiver covers a required path that is down",
        "reachability/policy.py",
        "if waiver is None or required else",
        "if waiver is None else",
    ),
    Mutant(
        "the declaration: a range means every environment that has it",
        "coordinator/topology/build.py",
        "environment=owners.of(member), network=member",
        "network=member",
    ),
    Mutant(
        "names: what DNS alone places in an environment is probed",
        "reachability/plan.py",
        "if self.elsewhere:",
        "if False:",
    ),
    Mutant(
        "whose word: a witness speaks for hosts that are not its own",
        "reachability/whose_word.py",
        "health = tuple(h for h in report.health if h.address in addresses)",
        "health = report.health",
    ),
    Mutant(
        "the inside control: an answer from before the source's packets is enough",
        "reachability/inside.py",
        "once |= tried - _before_and_after(data, target)",
        "once |= tried - tried",
    ),
    Mutant(
        "one identity, one process: an old one that is heard of again is a restart",
        "coordinator/state/holders.py",
        "if before is None or had_ended:",
        "if before is None or had_ended or name.last:",
    ),
)


def _copy(to: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    (to / ".stamps").symlink_to(ROOT / ".stamps")


def _seen_by(tree: Path, mutant: Mutant) -> str:
    """The first unit test that turns red; "" when none does."""
    path = tree / mutant.file
    whole = path.read_text()
    if whole.count(mutant.code) != 1:
        message = f"{mutant.file}: {mutant.code!r} stands in it {whole.count(mutant.code)} times; mend tests/mutants"
        raise SystemExit(message)
    path.write_text(whole.replace(mutant.code, mutant.fault))
    try:
        return _first_red(tree)
    finally:
        path.write_text(whole)


def _first_red(tree: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x", "-n", "2", "--tb=no", "tests/unit"],
        cwd=tree,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # a fault of the same length in the same second counts too
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    return (found[1] if found else "pytest itself") if done.returncode else ""


def main() -> int:
    """Try each, and say which test saw it."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="segwatch-mutants-") as directory:
        tree = Path(directory)
        _copy(tree)
        if test := _first_red(tree):
            print(f"without any fault {test} is red already: mend that first")
            return 1
        for mutant in MUTANTS:
            test = _seen_by(tree, mutant)
            missed += not test
            print(f"{'red  ' if test else 'GREEN'}  {mutant.what}\n       {test or 'no unit test saw it'}", flush=True)
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} faults were seen by a unit test")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
