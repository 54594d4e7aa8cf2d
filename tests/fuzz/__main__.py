"""`python -m tests.fuzz [TARGET…] --runs N | --seconds N`: fuzzes every target, two at a time, and prints a table.

The runs are shared out by how quick a target is. With atheris where it is installed, else by mutation alone (`--plain`).
`--keep` adds to the corpus what reached something new. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.engine import Reached, execute, fuzz, quiet, reach
from tests.fuzz.table import TARGETS, forget
from tests.fuzz.target import CORPUS, Target, escaped
from tests.support.paths import ROOT

LEAST = 0.95  # of a parser's branches
LONGEST_KEPT = 3000
MOST_REPLAYED = 3000
AT_A_TIME = 2


@dataclass(frozen=True)
class Row:
    """What came of a target."""

    executions: int
    seconds: float
    found: str
    new: tuple[bytes, ...]


def main() -> int:
    """Fuzz, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=0, help="executions over all targets")
    parser.add_argument("--seconds", type=float, default=0.0, help="in place of that: so long each")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="add what reached something new to the corpus")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(unknown)}")
    chosen = [TARGETS[name] for name in asked.targets or TARGETS]
    whole = sum(target.share for target in chosen)
    guided = not asked.plain and not asked.seconds and importlib.util.find_spec("atheris") is not None
    print(f"seed {asked.seed}, {'guided by atheris' if guided else 'by mutation alone'}", flush=True)
    print(f"{'target':14}{'executions':>12}{'a second':>10}{'branches':>12}{'reached':>9}", flush=True)
    rows: list[tuple[Row, Reached]] = []

    def one(target: Target) -> tuple[Target, Row]:
        runs = max(1000, asked.runs * target.share // whole)
        return target, _guided(target, runs, asked.seed) if guided else _plain(target, runs, asked.seconds, asked.seed)

    with ThreadPoolExecutor(AT_A_TIME) as pool:  # what runs in this process needs its main thread
        for target, row in pool.map(one, chosen) if guided else map(one, chosen):
            with quiet():
                reached = reach(target, (*target.inputs, *row.new[:MOST_REPLAYED]))
            rows.append((row, reached))
            rate = row.executions / max(row.seconds, 0.001)
            branches = f"{reached.taken}/{reached.branches}"
            print(f"{target.name:14}{row.executions:>12,}{rate:>10,.0f}{branches:>12}{reached.ratio:>9.1%}", flush=True)
            if row.found:
                print(row.found, flush=True)
            if asked.keep:
                _keep(target, row.new)
    forget()
    total = sum(row.executions for row, _ in rows)
    taken = sum(reached.taken for _, reached in rows)
    of_all = sum(reached.branches for _, reached in rows)
    findings = sum(bool(row.found) for row, _ in rows)
    print(f"{'all':14}{total:>12,}{'':10}{f'{taken}/{of_all}':>12}{taken / max(of_all, 1):>9.1%}   {findings} findings")
    short = [target.name for target, (_, reached) in zip(chosen, rows, strict=True) if reached.ratio < LEAST]
    if short:
        print(f"less than {LEAST:.0%} of the branches: {', '.join(short)}")
    return 1 if findings or short else 0


def _plain(target: Target, runs: int, seconds: float, seed: int) -> Row:
    with quiet():
        ran = fuzz(target, seconds=seconds, seed=seed) if seconds else fuzz(target, runs=runs, seed=seed)
    return Row(ran.executions, ran.seconds, str(ran.finding or ""), ())


def _guided(target: Target, runs: int, seed: int) -> Row:
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{target.name}-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.guided", target.name, folder, str(runs), str(seed % 2**31)]
        began = time.monotonic()
        ran = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "TMPDIR": folder},
        )
        done = re.findall(r"Done (\d+) in (\d+) second", ran.stdout + ran.stderr)
        executions, seconds = (int(done[-1][0]), float(done[-1][1])) if done else (0, time.monotonic() - began)
        bad = [
            path.read_bytes() for pattern in ("crash-*", "timeout-*", "oom-*") for path in Path(folder).glob(pattern)
        ]
        found = ""
        if bad or not done:
            said = (ran.stdout + ran.stderr).strip().splitlines()[-25:]
            inputs = [
                f"  {target.name}: something by this, as a line of its corpus: {escaped(data)[:4000]}" for data in bad
            ]
            found = "\n  ".join([*inputs, *said])
        new = sorted((path.read_bytes() for path in (Path(folder) / "new").iterdir()), key=len)
        return Row(executions, max(seconds, 1.0), found, tuple(new))


def _keep(target: Target, new: Sequence[bytes]) -> None:
    """Add to the corpus the shortest inputs that go ways through the parser which none before them went."""
    known: set[Any] = set()
    for data in target.inputs:
        known |= _ways(target, data)
    lines = []
    for data in sorted(new, key=len):
        if len(data) > LONGEST_KEPT:
            continue
        ways = _ways(target, data)
        if ways - known:
            known |= ways
            lines.append(escaped(data))
    if lines:
        with (CORPUS / f"{target.name}.txt").open("a", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
    print(f"  {len(lines)} inputs kept", flush=True)


def _ways(target: Target, data: bytes) -> set[Any]:
    """The steps from line to line in the functions of the parser."""
    names = {str(ROOT / file): {name.rpartition(".")[2] for name in wanted} for file, wanted in target.parser.items()}
    steps: set[Any] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        wanted = names.get(code.co_filename)
        if event != "call" or wanted is None or (wanted and code.co_name not in wanted):
            return None
        last = [0]

        def step(inner: FrameType, event: str, _: Any) -> Any:
            if event in {"line", "return"}:
                here = inner.f_lineno if event == "line" else -1
                steps.add((code, last[0], here))
                last[0] = here
            return step

        return step

    sys.settrace(enter)
    try:
        execute(target, data)
    finally:
        sys.settrace(None)
    return steps


if __name__ == "__main__":
    sys.exit(main())
