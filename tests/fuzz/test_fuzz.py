"""Every parser of what others send, fuzzed for a minute in all; that each fuzzer reaches its parser, and finds what is seeded."""

from collections.abc import Iterator

import pytest

from tests.fuzz.__main__ import LEAST
from tests.fuzz.engine import TooSlowError, execute, fuzz, quiet, reach
from tests.fuzz.table import TARGETS, forget
from tests.fuzz.target import Fault, Target, escaped, read_corpus

SEED = 5
SECONDS = 45.0 / len(TARGETS)  # and a little for the kept inputs: less than a minute for all
MOST_TO_FIND = 10_000  # executions, within which a seeded fault is reported
FAULTS = [
    pytest.param(target, fault, id=f"{target.name}-{number}")
    for target in TARGETS.values()
    for number, fault in enumerate(target.faults)
]


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    with quiet():
        yield


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_nothing_is_found(target: Target) -> None:
    ran = fuzz(target, seconds=SECONDS, seed=SEED)
    assert ran.finding is None, f"{ran.finding}; the line for its corpus: {escaped(ran.finding.data)[:3000]}"
    assert ran.executions >= len(target.inputs)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_parser_is_reached(target: Target) -> None:
    reached = reach(target, target.inputs)
    assert reached.ratio >= LEAST, "\n".join(reached.missing)


@pytest.mark.parametrize(("target", "fault"), FAULTS)
def test_a_seeded_fault_is_found(target: Target, fault: Fault) -> None:
    with fault.seeded():
        assert fuzz(target, runs=MOST_TO_FIND, seed=SEED).finding is not None, (
            f"{fault.function} without {fault.old!r} goes unnoticed"
        )
    after = fuzz(target, runs=0).finding
    assert after is None, f"also without it: {after}"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_each_has_faults_to_find(target: Target) -> None:
    assert target.faults


class _Endless:
    """A destructor that is never through, as the garbage collector's callbacks may be in when the time is over."""

    def __del__(self) -> None:
        while True:
            pass


def _lost_once(_: bytes) -> None:
    """What is raised in the destructor is lost; only the next time ends it."""
    _Endless()
    while True:
        pass


def test_time_that_is_over_in_a_destructor_is_a_finding_and_no_warning() -> None:
    never = Target("never", _lost_once, seeds=lambda: [b""], parser={}, faults=())
    assert isinstance(execute(never, b""), TooSlowError)


def test_inputs_are_kept_as_they_are() -> None:
    every = bytes(range(256))
    line = escaped(every)
    assert line.isascii()
    assert line.isprintable()
    assert " " not in line
    for name in TARGETS:
        read_corpus(name)
