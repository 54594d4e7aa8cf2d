"""A verify run, from when it is asked for to its result; and what steering is answered with."""

from __future__ import annotations

import msgspec

from coordinator.api.responses.estate import Cell, Counts, Coverage, Finding
from coordinator.api.responses.proof import Declaration
from coordinator.api.responses.status import Agent, TopologyFile
from coordinator.api.responses.words import (
    DeclaredWord,
    KindWord,
    Ports,
    ProtocolWord,
    ResultWord,
    SensitivityWord,
    Time,
    Unset,
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The id of the run that was asked for."""

    run: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A verify run that the coordinator remembers; `GET /api/v1/runs/{id}` has all of it."""

    run: str
    state: str
    started: Time | None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a run was cut off; false for one that is unknown or over."""

    ended: bool


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """Why all probing is stopped; null when it is not."""

    stopped: str | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Cells that a run is about, and those that were sent to."""

    cells: int
    done: int


class Untested(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of which the plan has not a single cell, although its source has an agent."""

    source: str
    destination: str


class Reused(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did not probe again: how many cells, and when the oldest was observed; null for none."""

    max_age_s: float
    cells: int
    oldest: Time | None


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one host that another topology lets come out otherwise.

    `before` is null where nothing there is probed under the one in force, `after` and `declared` under the other; `path` is
    null for none, `service` and `ports` as in `Unproven`.
    """

    source: str
    agents: tuple[str, ...]
    destination: str
    address: str
    service: str | None
    protocol: ProtocolWord
    ports: Ports | None
    cells: int
    required: bool
    before: ResultWord | None
    after: ResultWord | None
    declared: DeclaredWord | None
    path: str | None


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A topology that is not in force, by which what was observed last is judged; from when to when that was."""

    topology: TopologyFile
    in_force: TopologyFile
    oldest: Time | None
    newest: Time | None
    changes: tuple[Changed, ...]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a run shows, judged alone: `result` is pass, fail or inconclusive; `coverage` the proven share, 0..1.

    `reused` is there when the run had a `max_age_s`, `cells` when they were asked for, `what_if` where nothing was probed.
    """

    result: str
    started: Time | None
    finished: Time | None
    summary: Counts
    coverage: float
    findings: tuple[Finding, ...]
    agents: tuple[Agent, ...]
    untested: tuple[Untested, ...]
    reused: Reused | Unset = msgspec.UNSET
    cells: tuple[Cell, ...] | Unset = msgspec.UNSET
    what_if: WhatIf | Unset = msgspec.UNSET


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A declared path from one environment to another, or all that no path between them names; `line` is null for that.

    `required_unproven` are cells; `evidence` has a line for each host and outcome, the worst first; `findings` has ids.
    """

    source: str
    destination: str
    path: str
    declared: DeclaredWord
    line: int | None
    result: ResultWord
    results: Counts
    required_unproven: int
    evidence: tuple[str, ...]
    findings: tuple[str, ...]


class Uncontrolled(msgspec.Struct, frozen=True, kw_only=True):
    """An environment of which nothing showed that packets of these protocols get out, and the rule or path that would.

    `cells` must be proven and are not for it; `share` is their part of all that must be, 0..1.
    """

    environment: str
    protocols: tuple[str, ...]
    cells: int
    share: float
    settle: str


class Unproven(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one host that one reason leaves unproven: what that means, and what would settle it.

    `service` is null where none is declared, `ports` for ICMP, `reason` where nothing was tried.
    """

    source: str
    agents: tuple[str, ...]
    destination: str
    address: str
    service: str | None
    protocol: ProtocolWord
    ports: Ports | None
    cells: int
    required: bool
    result: ResultWord
    reason: str | None
    means: str
    settle: str


class FailingCells(msgspec.Struct, frozen=True, kw_only=True):
    """Cells that fail and came out alike, with the path of their check; `finding` is null where none has them yet.

    `severity` is their finding's, or what it would be; null from a coordinator that did not say it yet.
    """

    finding: str | None
    kind: KindWord
    source: str
    agent: str
    destination: str
    address: str
    service: str | None
    protocol: ProtocolWord
    ports: Ports | None
    path: str
    severity: SensitivityWord | None = None


class Decision(Declaration, frozen=True, kw_only=True):
    """What decides a finding, in which file, and what to do about it (`next`)."""

    file: str
    next: tuple[str, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A verify run: waiting (for the agents of `waiting_for`), running or finished. `result` is null until it has one.

    `error` says why it failed, `stopped` why all probing was stopped when it ended, null for neither; `ended`: it was cut
    off.
    """

    run: str
    state: str
    waiting_for: tuple[str, ...]
    progress: Progress
    error: str | None
    stopped: str | None
    ended: bool
    result: Verified | None


class FinishedRun(Run, frozen=True, kw_only=True):
    """A run with its result. `environments` has the line of each, `decided` an entry for each finding that a line decides.

    `uncontrolled` has an entry per environment that lacks a source control.
    """

    result: Verified
    checks: tuple[Check, ...]
    coverage: Coverage
    unproven: tuple[Unproven, ...]
    failing: tuple[FailingCells, ...]
    environments: dict[str, int]
    decided: dict[str, Decision]
    uncontrolled: tuple[Uncontrolled, ...] = ()
