"""A verify run as a baseline and `--severity` leave it: what the command line adds to the coordinator's answer.

Keys are stable, as there. Those of a baseline are there where one was given, those of `--severity` likewise.
"""

from __future__ import annotations

import msgspec

from coordinator.api.responses.estate import Counts, Finding
from coordinator.api.responses.runs import Verified
from coordinator.api.responses.words import SensitivityWord, Unset


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a baseline says of a failing finding. `state` is new, known, grown or ended.

    `owner`, `expires`, `justification` and `at` (`FILE:LINE`) are of an entry that names cells of it, null where none does;
    `new` has the cells that none names.
    """

    state: str
    owner: str | None
    expires: str | None
    justification: str | None
    at: str | None
    new: tuple[str, ...]


class HeldFinding(Finding, frozen=True, kw_only=True):
    """A finding of a run that was held; `baseline` is null for one that does not fail.

    `below` is the severity from which on it would fail, null for one that reaches it or fails nothing anyway. `result` is
    `baselined` where all of its cells are known, else `below` where that is not null.
    """

    baseline: Known | Unset | None = msgspec.UNSET
    below: SensitivityWord | Unset | None = msgspec.UNSET


class HeldCounts(Counts, frozen=True, kw_only=True):
    """Cells by result; those that are `baselined`, or not that and `below` the severity that is asked for, do not fail."""

    baselined: int | Unset = msgspec.UNSET
    below: int | Unset = msgspec.UNSET


class HeldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the baseline, at its line: how many failing cells of this run it names. `state`: in-force or ended."""

    finding: str | None
    kind: str
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")
    addresses: tuple[str, ...]
    ports: tuple[str, ...]
    owner: str
    expires: str
    line: int
    state: str
    cells: int


class HeldBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline's file, and all of its entries."""

    file: str
    entries: tuple[HeldEntry, ...]


class HeldSeverity(msgspec.Struct, frozen=True, kw_only=True):
    """From which severity on a finding fails the run, and how many failing cells are below it and in no baseline."""

    start: SensitivityWord = msgspec.field(name="from")
    below: int


class HeldVerified(Verified, frozen=True, kw_only=True):
    """The result of a run that was held."""

    baseline: HeldBaseline | Unset = msgspec.UNSET
    severity: HeldSeverity | Unset = msgspec.UNSET


def known(finding: Finding) -> Known | None:
    """What a baseline says of a finding; None where there is no baseline, or the finding does not fail."""
    return (finding.baseline or None) if isinstance(finding, HeldFinding) else None


def baselined(counts: Counts) -> int:
    """How many cells a baseline takes from those that fail."""
    return (counts.baselined or 0) if isinstance(counts, HeldCounts) else 0


def below(counts: Counts) -> int:
    """How many of those that fail are below the severity that is asked for."""
    return (counts.below or 0) if isinstance(counts, HeldCounts) else 0


def added(one: Counts, other: Counts) -> HeldCounts:
    """The cells of both."""
    return HeldCounts(
        passed=one.passed + other.passed,
        fail=one.fail + other.fail,
        waived=one.waived + other.waived,
        inconclusive=one.inconclusive + other.inconclusive,
        stale=one.stale + other.stale,
        not_run=one.not_run + other.not_run,
        baselined=baselined(one) + baselined(other),
        below=below(one) + below(other),
    )
