"""Why a cell has its result: what was declared, sent, seen and controlled, and what would settle it."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from coordinator.api.responses.estate import Cell, Finding
from coordinator.api.responses.names import Name
from coordinator.api.responses.packets import Exchange, Trace
from coordinator.api.responses.words import (
    ArrivalWord,
    CanaryWord,
    DeclaredWord,
    ProtocolWord,
    ReasonWord,
    ResultWord,
    StateWord,
    Time,
    Unset,
)


class WaiverLine(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver by its id, the line of the file where it begins, and when it ends."""

    id: str
    line: int
    expires: Time | None


class NearestPath(msgspec.Struct, frozen=True, kw_only=True):
    """The declared path that comes nearest to a cell that none allows."""

    path: str
    line: int
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """Which line decides. Null: no path allows it, none is near, no waiver covers it, none that would has ended.

    `at` is `FILE:LINE`, or the lines of a file that do not match; `lines` the first and the last of them. Of what has left
    the plan, `declared` and `at` are null, and `nearest`, `waiver`, `ended` and `lines` are left out.
    """

    declared: DeclaredWord | None
    path: str | None
    nearest: NearestPath | Unset | None = msgspec.UNSET
    waiver: WaiverLine | Unset | None = msgspec.UNSET
    ended: WaiverLine | Unset | None = msgspec.UNSET
    lines: tuple[int, int] | Unset = msgspec.UNSET
    text: str
    at: str | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that bears on a cell in one round. Null: not known. Empty text: none, or nothing to say.

    `sent` to `said` is what the source saw: copies sent, those before its last good control (`covered`), flows that they
    took, seconds from the first of them to the last (`span_s`), copies refused, hops and milliseconds of the answer, its
    first bytes (`said`, in hex) and what it is (`note`). `arrival` to `drops_still` is what the witness saw: copies, from
    where, after how many hops, with which DSCP and MSS (0: not read), what was rewritten on the way (sequence, timestamp),
    whether the host answered, whether a socket is bound; whether the host's counters stood still. The rest are controls:
    what an agent inside got (null: nobody asked), whether that was before the source's packets alone and not shown after
    them (`inside_once`), the canary, the hops to the host (`least_hops`: by its shortest way back), whether the source's
    packets got out at all; `loss` is the upper bound of the pair's loss, 0..1; `problem` why silence proves nothing here.
    """

    protocol: ProtocolWord
    state: StateWord
    reason: ReasonWord
    refused_by: str
    endpoint_refused: bool
    way: str
    kernel: str
    via: str
    sent: int
    covered: int
    flows: int
    span_s: float | None
    refused: int
    prohibited: int
    prohibited_at_host: int
    hops: int | None
    rtt_ms: float | None
    said: str
    note: str
    arrival: ArrivalWord
    no_witness_why: str
    arrived: int
    came_from: str
    came_hops: int | None
    dscp: int
    mss: int
    altered: str
    answered: bool
    bound: bool
    noports_still: bool | None
    undelivered: bool | None
    handed_on: bool | None
    drops_still: bool | None
    inside: StateWord | None
    inside_by: str
    inside_heard: bool
    inside_once: bool
    inside_same: bool
    canary: CanaryWord
    host_hops: int | None
    least_hops: int | None = None
    control: bool
    control_by: str
    loss: float | None
    problem: str


class RoundOf(msgspec.Struct, frozen=True, kw_only=True):
    """The round that showed a cell. `run` is null outside of verify runs; `schedule` is cycle or sweep."""

    id: str
    run: str | None
    schedule: str
    observed_at: Time | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The row of the table in docs/verdict.md that judged a cell."""

    number: int
    text: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a green cell holds over: flows, seconds from the first copy to the last, the bound of loss. Null: not known.

    `share`: the largest part of flows that may get through so that none of these did, 0..1, at a chance of one in twenty.
    """

    flows: int
    seconds: float | None
    loss: float | None
    share: float


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Who took a finding on."""

    by: str
    reason: str


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the life of the finding; `by` is null where nobody did it."""

    at: Time | None
    what: str
    text: str
    by: str | None


F = TypeVar("F", bound=Finding | None)


class Explained(msgspec.Struct, Generic[F], frozen=True, kw_only=True):
    """Why a cell, or the cell of a finding that says most, has its result.

    `finding` is null for a cell that was asked for, and `first_seen`, `rounds` (that saw it) and `acknowledged` (null: by
    nobody) are left out. All about the cell is null for a finding that has left the plan; `round`, `evidence` and `row` until
    it was observed; `grade` unless it is green by what a witness (no packet) or controls (no session) showed; `means` where it
    is proven; `inside` where no agent could ask inside; `limits` unless it is green.
    """

    finding: F
    first_seen: Time | Unset | None = msgspec.UNSET
    rounds: int | Unset = msgspec.UNSET
    acknowledged: Acknowledged | Unset | None = msgspec.UNSET
    history: tuple[Happened, ...]
    cell: Cell | None
    result: ResultWord | None
    grade: str | None
    declared: Declaration
    means: str | None
    settle: tuple[str, ...]
    witness: str | None
    inside: str | None
    round: RoundOf | None
    evidence: Evidence | None
    row: Row | None
    limits: Limits | None = None


class Explanation(Explained[Finding | None], frozen=True, kw_only=True):
    """The same with its packets, null where none is kept, and the DNS names that led to its address, as each agent sees them.

    `trace` is there when it was asked for.
    """

    exchange: Exchange | None
    names: tuple[Name, ...] = ()
    trace: Trace | Unset = msgspec.UNSET
