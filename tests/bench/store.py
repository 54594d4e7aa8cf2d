"""How large the coordinator's store grows in a year of 60-second cycles of 50 agents.

Ten agents in each of five environments, each probing the ten hosts of each other environment every minute: 200 rounds a
minute with twelve reports each, as large as recorded ones. Rounds are forgotten after six hours: the year ends with a full
window of them and a sweep of every pair, and before that an environment's cycle a day stands for the day. What adds up
over the year (findings, events, gaps, spools) comes at a day's rate each day.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import zstandard

from coordinator.store import Gap, Part, Report, Store
from coordinator.store.care import check
from coordinator.store.retention import ROUNDS_S
from reachability.arrival import WitnessReport
from reachability.life import Event, EventKind, Finding
from reachability.matrix import CellKey, Judged
from reachability.observation import KeptPacket, SourceReport, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, Protocol, Role, RoundKind, Schedule
from tests.support.paths import ROOT
from tests.support.sample import Estate
from wire.codec import encode

ENVIRONMENTS, AGENTS_EACH = ("dev", "test", "staging", "prod", "lab"), 10
STATED_MIB = 1280
MINUTES = int(ROUNDS_S / 60) + 30
RECORDED = ROOT / "tests" / "unit" / "coordinator" / "store" / "stores" / "schema-2.sqlite.zst"
PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)


class Year:
    """The clock, the store, and what agents say."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.chance = directory, 1_800_000_000.0, Random(5)
        self.sequences: dict[str, int] = {}
        self.newest: dict[tuple[str, str, str], str] = {}
        self.rounds = 0
        self.peak = 0
        self._templates(directory)
        self.kind = RoundKind.NORMAL
        self.kept = tuple(
            KeptPacket(
                target=1, what=PacketRole.SENT, at_ms=float(n), data=self.chance.randbytes(60), port=n, interface="eth0"
            )
            for n in range(200)
        )
        self.store = Store(directory / "state", steady=lambda: self.now)
        self.sample = Estate()
        self.held: list[Finding] = []

    def _templates(self, directory: Path) -> None:
        """A source's, an inside control's and a witness's report of one recorded round, and a judgement."""
        (directory / "store.sqlite").write_bytes(zstandard.decompress(RECORDED.read_bytes()))
        recorded = Store(directory)
        self.judged: Judged = recorded.cells()[0][2]
        [finding] = recorded.findings()
        group = recorded.group_of(finding.shown[0])
        reports = [report for _, _, held in group for report, _ in held]
        self.source = max((r for r in reports if isinstance(r, SourceReport) and r.role is Role.SOURCE), key=_size)
        self.inside = max((r for r in reports if isinstance(r, SourceReport) and r.role is Role.INSIDE), key=_size)
        self.witness = max((r for r in reports if isinstance(r, WitnessReport)), key=_size)
        recorded.close()

    def minute(self, schedule: Schedule = Schedule.CYCLE, sources: Sequence[str] = ENVIRONMENTS) -> None:
        """Every agent's cycle, and the minute's forgetting."""
        for environment in sources:
            for agent in agents(environment):
                for other in ENVIRONMENTS:
                    if other != environment:
                        self.round(agent, environment, other, schedule)
        self.now += 60.0
        self.store.forget(self.newest.values())

    def round(self, agent: str, environment: str, other: str, schedule: Schedule) -> None:
        """One round: what was asked, its reports from each of its agents, its cells."""
        self.rounds += 1
        name = f"{self.rounds:011X}{self.chance.getrandbits(32):08X}"
        spec = RoundSpec(
            round=name, kind=self.kind, schedule=schedule, source=agent, source_environment=environment, destination=other,
            targets=tuple(targets(other)),
        )  # fmt: skip
        self.store.start_round(spec, name, self.now)
        observations = tuple(
            replace(
                self.source.observations[number % len(self.source.observations)],
                target=target.id,
                address=target.address,
            )
            for number, target in enumerate(spec.targets * 2)
        )
        self.take(agent, replace(self.source, round=name, agent=agent, observations=observations, kept=self.kept))
        witnesses = list(agents(other))
        self.take(witnesses[0], replace(self.inside, round=name, agent=witnesses[0]))
        for witness in witnesses:
            self.take(witness, replace(self.witness, round=name, agent=witness))
        self.store.set_parts(name, dict.fromkeys(witnesses, Part(whole=True)))
        judged = replace(self.judged, round=name, observed_at=self.now)
        self.store.put_cells((key, rows(key, judged)) for key in keys(agent, environment, other))
        self.newest[agent, other, schedule] = name

    def take(self, agent: str, report: Report, *gaps: Gap) -> None:
        """A batch with a report."""
        sequence = self.sequences[agent] = self.sequences.get(agent, 0) + 1
        self.store.take(agent, f"spool of {agent}", sequence, 1, [report], self.now, gaps=gaps)

    def day(self) -> None:
        """A cycle, twenty findings that open and resolve, a gap of each agent, five new spools, and the night."""
        self.minute(sources=ENVIRONMENTS[:1])
        book = [
            replace(finding, id=f"F-{self.chance.getrandbits(24):06x}", resolved_at=self.now)
            for finding in self.sample.book.findings * 20
        ]
        self.held = [*(f for f in self.held if f.resolved_at > self.now - 90 * 86400), *book]  # as the estate does
        events = [
            Event(at=self.now, finding=finding.id, what=what, text="dev → prod 10.30.0.21 tcp/5000")
            for finding in book
            for what in (EventKind.OPENED, EventKind.CONFIRMED, EventKind.RESOLVED)
        ]
        self.store.put_findings(self.held, events)
        for environment in ENVIRONMENTS:
            for agent in agents(environment):
                sequence = self.sequences[agent] = self.sequences.get(agent, 0) + 2
                spool = f"spool of {agent}"
                lost = Gap(
                    spool=spool, first=sequence - 1, last=sequence, batches=2, reports=2, since=self.now, until=self.now, why="age"
                )  # fmt: skip
                self.store.take(agent, spool, sequence, 1, [], self.now, gaps=[lost])
            self.store.take(next(agents(environment)), f"new {self.now}", 1, 1, [], self.now)
        self.now += 86400.0 - 60.0
        self.store.forget(self.newest.values())

    def mib(self) -> float:
        """The file with its log."""
        size = sum(path.stat().st_size for path in (self.directory / "state").glob("store.sqlite*"))
        self.peak = max(self.peak, size)
        return size / 2**20


def _size(report: Report) -> int:
    return len(encode(report))


def agents(environment: str) -> Iterator[str]:
    """Their names."""
    return (f"{environment}-{number}" for number in range(1, AGENTS_EACH + 1))


def targets(environment: str) -> Iterator[Target]:
    """Every host of an environment, by TCP, UDP and ICMP."""
    number = 0
    for host, agent in enumerate(agents(environment), start=10):
        for protocol in PROTOCOLS:
            number += 1
            yield Target(
                id=number, environment=environment, address=f"10.{10 * ENVIRONMENTS.index(environment) + 10}.0.{host}",
                protocol=protocol, ports=PortSet.parse("22,53,80,443,445,2375,2379,3389,5000,5432,6006,6379,8080,8265,8443,8786,8888,9000"),
                witness=agent, inside=agent, canary=50_000 + host,
            )  # fmt: skip


def keys(agent: str, environment: str, other: str) -> Iterator[CellKey]:
    """Where the cells of a round are."""
    source = f"10.{10 * ENVIRONMENTS.index(environment) + 10}.0.{9 + int(agent.rpartition('-')[2])}"
    for target in targets(other):
        yield CellKey(
            agent=agent, source_address=source, destination=other, address=target.address, protocol=target.protocol
        )


def rows(key: CellKey, judged: Judged) -> list[tuple[PortSet, Judged]]:
    """Two runs of ports; ICMP has one row."""
    if key.protocol is Protocol.ICMP:
        return [(ICMP_CELL, judged)]
    return [(PortSet.of([5000]), judged), (PortSet.parse("22,53,80,443,8080"), judged)]


def store(minutes: int = MINUTES, days: int = 365) -> None:
    """The year; a line where something is to be seen. `python -m tests.bench store` runs all of it."""
    memory = Path("/dev/shm")  # noqa: S108 - the size counts here, not the disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        year, began = Year(Path(made)), time.monotonic()
        print("\nA year of 60-second cycles of 50 agents: the store")
        print(
            "| | MiB | rounds | reports | packets | cells | findings | events | gaps | spools | seconds |\n|---|"
            + "---|" * 10
        )

        def line(what: str) -> None:
            size, found = year.mib(), check(year.directory / "state" / "store.sqlite")
            assert found.ok, found.problems
            names = ("rounds", "reports", "packets", "cells", "findings", "events", "gaps", "spools")
            counts = " | ".join(f"{found.rows[name]:,}" for name in names)
            print(f"| {what} | {size:.0f} | {counts} | {time.monotonic() - began:.0f} |", flush=True)

        year.minute()
        for day in range(1, days + 1):
            year.day()
            year.mib()
            if day in {1, 30, 90, days}:
                line(f"day {day}")
        year.minute(Schedule.SWEEP)
        for _ in range(minutes):
            year.minute()
            year.mib()
        line(f"{minutes / 60:.1f} h at the full rate")
        year.store.close()
        peak = year.peak / 2**20
        print(f"\nNever more than {peak:.0f} MiB; stated: {STATED_MIB}. {year.rounds:,} rounds written.")
        if peak > STATED_MIB:
            sys.exit(1)
