"""Runs a target in this process: what was kept first, then mutations of it from a seed. Needs nothing but the project."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
import structlog

from tests.fuzz.mutate import mutate
from tests.fuzz.target import Target
from tests.support.paths import ROOT

SLOW_S = 2.0  # of the processor, for any input: a figure that a busy machine does not change


class TooSlowError(BaseException):
    """An input that is never through; no parser's own `except` takes it."""


@dataclass(frozen=True)
class Finding:
    """An input that a parser did not survive."""

    target: str
    data: bytes
    error: BaseException
    executions: int

    def __str__(self) -> str:
        shown = self.data if len(self.data) <= 300 else self.data[:300] + b"..."
        return f"{self.target}: {type(self.error).__name__}: {str(self.error)[:300]} after {self.executions} executions, input {shown!r}"


@dataclass(frozen=True)
class Reached:
    """Branches of the parser that were taken, of how many; `missing` in words."""

    taken: int
    branches: int
    missing: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return self.taken / self.branches if self.branches else 1.0


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    executions: int
    seconds: float
    finding: Finding | None


def fuzz(target: Target, *, runs: int | None = None, seconds: float | None = None, seed: int = 1) -> Ran:
    """The inputs that are kept, then new ones, until so many runs or seconds are over or something is found."""
    chance = random.Random(f"{target.name} {seed}")
    pool, started, count = target.inputs, time.monotonic(), 0
    while True:
        data = (
            pool[count]
            if count < len(pool)
            else mutate(chance.choice(pool), pool, target.shape, target.words, chance, target.most)
        )
        count += 1
        error = execute(target, data)
        if error is not None:
            return Ran(count, time.monotonic() - started, Finding(target.name, data, error, count))
        if count < len(pool):
            continue
        if (runs is not None and count >= runs) or (seconds is not None and time.monotonic() - started >= seconds):
            break
    return Ran(count, time.monotonic() - started, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log lines of what is tried, and those of everything else again afterwards."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.reset_defaults()


def execute(target: Target, data: bytes) -> BaseException | None:
    """What one input leads to; None for all that is well. For the main thread, which alone gets signals."""
    before, unraisable = signal.signal(signal.SIGVTALRM, _too_slow), sys.unraisablehook
    # Again and again: raised in a destructor or by the garbage collector it is lost, and the loop goes on until memory ends.
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW_S, SLOW_S)
    sys.unraisablehook = lambda lost: None if lost.exc_type is TooSlowError else unraisable(lost)
    try:
        target.run(data)
    except (Exception, TooSlowError) as error:  # noqa: BLE001 - whatever comes out is a finding
        return error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        sys.unraisablehook = unraisable
    return None


def _too_slow(*_: object) -> None:
    raise TooSlowError(f"more than {SLOW_S:g} s")


def reach(target: Target, inputs: Iterable[bytes]) -> Reached:
    """Which branches of the parser these inputs take, by coverage.py."""
    files = [str(ROOT / name) for name in target.parser]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a module that was imported before is what we want
        measured = coverage.Coverage(branch=True, include=files, data_file=None, config_file=False, messages=False)
        measured.start()
        try:
            for data in inputs:
                execute(target, data)
        finally:
            measured.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "coverage.json"
            measured.json_report(outfile=str(path))
            report = json.loads(path.read_text())["files"]
    taken = branches = 0
    missing = []
    for name, wanted in target.parser.items():
        functions = next(entry["functions"] for file, entry in report.items() if (ROOT / file).samefile(ROOT / name))
        for function, entry in functions.items():
            if function and (not wanted or function in wanted):
                taken += entry["summary"]["covered_branches"]
                branches += entry["summary"]["num_branches"]
                missing += [f"{name} {function}: {start} to {end}" for start, end in entry["missing_branches"]]
        unknown = set(wanted) - set(functions)
        assert not unknown, f"{name} has no {unknown}"
    return Reached(taken, branches, tuple(missing))
