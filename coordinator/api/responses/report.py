"""The report: what is handed over, of one moment."""

from __future__ import annotations

import msgspec

from coordinator.api.responses.estate import Counts, Coverage, Finding, Matrix
from coordinator.api.responses.proof import Explained, Limits
from coordinator.api.responses.runs import Unproven, Untested
from coordinator.api.responses.status import Agent, Event, TopologyFile
from coordinator.api.responses.words import (
    DeclaredWord,
    ProofWord,
    ReachabilityWord,
    RequireWord,
    ResultWord,
    SensitivityWord,
    Time,
)


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """When the oldest and the newest cell were observed; null where none was."""

    oldest: Time | None = msgspec.field(name="from")
    newest: Time | None = msgspec.field(name="to")


class DeclaredAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the topology has it; without addresses it reports its own."""

    name: str
    addresses: tuple[str, ...]


class DeclaredService(msgspec.Struct, frozen=True, kw_only=True):
    """A service. `ports` is like `tcp/22,80 udp/53`; `kind` null: not said; `holds`: such as models."""

    name: str
    hosts: tuple[str, ...]
    ports: str
    kind: str | None
    holds: tuple[str, ...]
    sweep: bool


class DeclaredEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment. `require` is what a denied cell into it must show."""

    name: str
    sensitivity: SensitivityWord
    require: RequireWord
    networks: tuple[str, ...]
    agents: tuple[DeclaredAgent, ...]
    services: tuple[DeclaredService, ...]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from sweep to sweep, null for none that is scheduled; `ports` as of a service, null for no sweep at all."""

    every_s: float | None
    ports: str | None


class BlackoutTime(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is probed for so many seconds from when the cron expression fires."""

    cron: str
    for_s: float
    timezone: str


class ProbingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """When and how hard agents probe. `rate_pps`: packets a second of each; `flows`: entries in connection tables at a time.

    `spread_s`: what is silent was tried over so long a time; `confirm`: so many rounds in a row open or resolve a finding.
    """

    every_s: float
    sweep: Sweep
    rate_pps: int
    flows: int
    spread_s: float
    confirm: int
    blackout: tuple[BlackoutTime, ...]


class RowProof(msgspec.Struct, frozen=True, kw_only=True):
    """Cells that one row of the table in docs/verdict.md judged."""

    row: int
    text: str
    reachability: ReachabilityWord
    proof: ProofWord
    cells: int
    results: Counts


class DeclaredPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path, and what its cells came to; `result` is null where the plan has no cell of it.

    `ports` null: the service's own, or every port. `owner`, `justification` and `line` null: not said.
    """

    name: str
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")
    ports: str | None
    owner: str | None
    justification: str | None
    line: int | None
    expect: DeclaredWord
    result: ResultWord | None
    cells: int
    results: Counts


class DeclaredWaiver(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver, how many cells it covers now, and the ids of the findings that stand under it. Null as in a path."""

    id: str
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")
    ports: str | None
    owner: str | None
    justification: str | None
    line: int | None
    expires: Time | None
    in_force: bool
    cells: int
    findings: tuple[str, ...]


class ReportedFinding(Explained[Finding], frozen=True, kw_only=True):
    """A finding as `explain` has it, without packets; by id and name the waiver and path that it is about, null for none.

    `shown` has the rounds that showed it last.
    """

    waiver: str | None
    path: str | None
    shown: tuple[str, ...]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What happened from `since` to `until`, the newest first. `known_since`: what was before is not kept; null: all is."""

    since: Time | None
    until: Time | None
    known_since: Time | None
    events: tuple[Event, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`made` at one moment by this `version`. `result` is pass, fail or inconclusive; `suspected` counts suspicions.

    Every figure is of that moment. `period` is null unless one was asked for; `findings` then has those that stand, and
    those that stood in it. `limits` hold for every green cell; null: there is none.
    """

    made: Time | None
    version: str
    result: str
    topology: TopologyFile
    observed: Observed
    summary: Counts
    matrix: Matrix
    coverage: Coverage
    environments: tuple[DeclaredEnvironment, ...]
    probing: ProbingPlan
    agents: tuple[Agent, ...]
    proofs: tuple[RowProof, ...]
    paths: tuple[DeclaredPath, ...]
    waivers: tuple[DeclaredWaiver, ...]
    findings: tuple[ReportedFinding, ...]
    suspected: int
    unproven: tuple[Unproven, ...]
    untested: tuple[Untested, ...]
    period: Period | None = None
    limits: Limits | None = None


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a topology file, drafted from what was observed; how many of its entries a person has to review.

    `under` is the topology that was in force.
    """

    topology: str
    review: int
    under: TopologyFile
    made: Time | None
