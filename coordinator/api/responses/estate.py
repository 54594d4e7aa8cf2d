"""What stands of the cells: matrix, findings, coverage; and the plan."""

from __future__ import annotations

import msgspec

from coordinator.api.responses.words import (
    DeclaredWord,
    KindWord,
    Ports,
    ProofWord,
    ProtocolWord,
    ReachabilityWord,
    ResultWord,
    SensitivityWord,
    StateWord,
    StatusWord,
    Time,
    Unset,
)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Cells by result."""

    passed: int = msgspec.field(name="pass")
    fail: int
    waived: int
    inconclusive: int
    stale: int
    not_run: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """From one environment to another. `coverage` is the proven share of what is required, 0..1."""

    source: str
    destination: str
    results: Counts
    coverage: float


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Cells that came out alike. What was not observed is null; `ports` is null for ICMP alone.

    `address` is a name where that did not resolve; `service` and `waiver` are null for none; `row` is one of the table in
    docs/verdict.md.
    """

    agent: str
    source: str
    source_address: str
    address: str
    destination: str
    service: str | None
    protocol: ProtocolWord
    ports: Ports | None
    declared: DeclaredWord
    state: StateWord | None
    reason: str | None
    reachability: ReachabilityWord | None
    proof: ProofWord | None
    result: ResultWord
    required: bool
    waiver: str | None
    observed_at: Time | None
    row: int | None


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """A pair for every two environments. `cells` is there when it was asked for."""

    environments: tuple[str, ...]
    pairs: tuple[Pair, ...]
    cells: tuple[Cell, ...] | Unset = msgspec.UNSET


class FindingSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a finding's packets come from; several agents are joined by a comma."""

    environment: str
    agent: str


class FindingDestination(msgspec.Struct, frozen=True, kw_only=True):
    """What they reach; several services are joined by a comma, null is none that is declared."""

    environment: str
    service: str | None
    addresses: tuple[str, ...]


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """The newest rounds that proved something of a finding: how many, in how many it failed, how often that changed."""

    rounds: int = 0
    failing: int = 0
    changes: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause that a person must look at. `ports` is null for ICMP, `identified` (what answered there) where nothing said so.

    `cells` counts those of it that fail or are waived; `cwe` and `impact` come from the declaration and may be empty.
    `flapping`: it comes and goes, as `recent` counts.
    """

    id: str
    kind: KindWord
    status: StatusWord
    severity: SensitivityWord
    result: ResultWord
    source: FindingSource
    destination: FindingDestination
    protocol: ProtocolWord
    ports: Ports | None
    declared: DeclaredWord
    reachability: ReachabilityWord
    proof: ProofWord
    reason: str
    identified: str | None
    cwe: tuple[str, ...]
    impact: tuple[str, ...]
    first_seen: Time | None
    last_seen: Time | None
    cells: int
    flapping: bool = False
    recent: Recent = Recent()


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that was just acknowledged, and its status now."""

    id: str
    status: StatusWord


class PairCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a pair is proven; as in `Coverage`."""

    source: str
    destination: str
    coverage: float
    cells: int
    required: int
    proven: int
    inconclusive: int
    stale: int
    not_run: int
    no_packet: int
    no_session: int
    beyond_proof: int
    declared_paths: int


class NotSwept(msgspec.Struct, frozen=True, kw_only=True):
    """A service that the topology takes out of sweeps."""

    environment: str
    service: str
    hosts: tuple[str, ...]


class LostReports(msgspec.Struct, frozen=True, kw_only=True):
    """All that was lost of an agent's reports; as in `Losses`. `environment` is null for an agent that is declared no more."""

    agent: str
    environment: str | None
    batches: int
    reports: int
    since: Time | None = msgspec.field(name="from")
    until: Time | None = msgspec.field(name="to")
    why: tuple[str, ...]


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what must be proven is proven. All but `coverage` (the share, 0..1, 1 only for all) are numbers of cells.

    `proven`, `inconclusive`, `stale` and `not_run` count required cells; `no_packet` and `no_session` denied ones that pass, by
    what was shown; `beyond_proof` UDP that is silent on hosts without an agent, which need not be proven; `declared_paths`
    paths. `not_tested` has protocols that no probe tries, by IANA's names: they are in no figure.
    """

    coverage: float
    cells: int
    required: int
    proven: int
    inconclusive: int
    stale: int
    not_run: int
    no_packet: int
    no_session: int
    beyond_proof: int
    declared_paths: int
    pairs: tuple[PairCoverage, ...]
    not_swept: tuple[NotSwept, ...]
    lost: tuple[LostReports, ...]
    not_tested: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent probes, when, who witnesses and who controls from inside; "" is nobody, or no port."""

    id: int
    kind: str
    environment: str
    host: str
    protocol: ProtocolWord
    ports: str
    schedule: str
    witness: str
    inside: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule of an agent sends where all is silent, and how long that takes. `limit`: rate_pps or flows."""

    agent: str
    schedule: str
    destinations: int
    hosts: int
    cells: int
    packets: int
    seconds: float
    limit: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of each agent, and what they cost. `topology` is the file's SHA-256."""

    topology: str
    agents: dict[str, tuple[Task, ...]]
    costs: tuple[Cost, ...]
