"""What the coordinator does about what is old."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.state.concluding import JudgedRow
from coordinator.store.retention import CELLS_S, EVENTS_S, RESOLVED_S, ROUNDS_S
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.life import Event, EventKind
from reachability.observation import KeptPacket, Lookup, SourceReport
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, Protocol, RoundKind, Schedule, State
from tests.support.coordinator import NOW, TOPOLOGY, Coordinator
from tests.support.sample import evidence, judged
from tests.support.virtual import run

SPEC = RoundSpec(
    round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod",
    targets=(),
)  # fmt: skip


def test_what_is_old_goes_from_memory_and_store_alike(world: Coordinator, tmp_path: Path) -> None:
    estate = world.estate
    world.store.put_findings([], [Event(at=NOW, finding="F-0", what=EventKind.OPENED)])
    world.now += EVENTS_S - CELLS_S - RESOLVED_S
    target = next(t for t in estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    planned, left = key_of(target), replace(key_of(target), source_address="10.10.0.99")
    opened = judged(evidence(target, State.OPEN), "R1", run="", at=world.now)
    closed = judged(evidence(target, State.FILTERED), "R2", run="", at=world.now)
    for key, found in ((planned, opened), (left, closed)):
        estate.matrix.update(key, PortSet.of([22]), found)
        estate._unsaved[key] = None
    [event] = run(estate.review())
    estate.take_lookups("dev-1", [Lookup(name="db.prod.internal", addresses=("10.30.0.9",))])
    estate.take_lookups("dev-1", [Lookup(name="gone.prod.internal", addresses=("10.30.0.8",))])
    assert estate.standing() == {"R1", "R2"}
    world.now += CELLS_S
    run(estate.forget())
    assert {key for key, _, _ in world.store.cells()} == {planned, left}
    assert world.store.lookups() == {
        "dev-1": {"db.prod.internal": Lookup(name="db.prod.internal", addresses=("10.30.0.9",))}
    }
    world.now += 1
    run(estate.forget())
    assert {key for key, _, _ in world.store.cells()} == set(estate.matrix) == {planned}, "it left the plan a week ago"
    shut = judged(evidence(target, State.FILTERED), "R3", run="", at=world.now)
    estate.matrix.update(planned, PortSet.of([22]), shut)
    assert [e.what for e in run(estate.review())] == ["resolved"]
    world.now += RESOLVED_S
    run(estate.forget())
    assert [finding.id for finding in world.store.findings()] == [event.finding]
    world.now += 1
    run(estate.forget())
    assert world.store.findings() == list(estate.book.findings) == []
    assert {each.finding for each in world.store.events()} == {event.finding}, "events stay a year"
    estate.take_topology(parse_topology(TOPOLOGY.replace("dev-1", "dev-2").encode()))
    run(estate.forget())
    assert world.store.lookups() == {}


@pytest.mark.parametrize("back", [False, True], ids=["ahead", "back"])
@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_a_clock_that_is_set_by_years_makes_nothing_old(world: Coordinator, restarts: bool, back: bool) -> None:  # noqa: FBT001
    """For an hour, and then it is right again: what is young stays, and what was held meanwhile grows as old as ever."""

    def clock_set(by_s: float) -> None:
        world.now += by_s
        world.set_s += by_s
        if restarts:
            world.restart()
        else:
            world.estate.clock_stepped(by_s)

    def held() -> list[Any]:
        store = world.store
        books = (
            {key for key, _, _ in store.cells()},
            store.findings(),
            store.events(),
            len(world.estate.book.findings),
        )
        tables = ("rounds", "reports", "packets", "spools")
        return [*books, *(store._db.execute(f"SELECT * FROM {table}").fetchall() for table in tables)]  # noqa: S608

    def batch(number: int) -> None:
        name = f"R{number}"
        world.store.start_round(replace(SPEC, round=name), name, world.now)
        kept = (KeptPacket(target=1, what=PacketRole.SENT, at_ms=1.5, data=b"E", port=22, copy=0, interface="eth0"),)
        world.store.take("dev-1", f"s{number}", 1, 1, [SourceReport(round=name, agent="dev-1", kept=kept)], world.now)

    years_s = (-2 if back else 2) * EVENTS_S
    target = next(t for t in world.estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    planned, left = key_of(target), replace(key_of(target), source_address="10.10.0.99")
    for number, (key, state) in enumerate(
        ((planned, State.OPEN), (left, State.FILTERED), (planned, State.FILTERED)), 10
    ):
        world.now += 60.0
        found = judged(evidence(target, state), f"R{number}", run="", at=world.now)
        world.estate.matrix.update(key, PortSet.of([22]), found)
        world.estate._unsaved[key] = None
        run(world.estate.review())
    assert [finding.status.value for finding in world.store.findings()] == ["resolved"]
    batch(1)
    before = held()
    clock_set(years_s)
    run(world.estate.forget())
    batch(2)
    world.now += 3600.0
    clock_set(-years_s)
    run(world.estate.forget())
    after = held()
    assert after[:4] == before[:4], "cells, findings, events"
    assert [len(rows) for rows in after[4:]] == [2, 2, 0, 2], "packets are held for five minutes"
    world.now += ROUNDS_S
    run(world.estate.forget())
    assert world.store.unjudged() == []
    assert [len(rows) for rows in held()[4:]] == [0, 0, 0, 2]


def test_addresses_that_an_agent_invents_keep_no_more_than_so_many_cells_and_rounds(
    world: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reports name the address that it sent from: a captured agent names a new one in each."""
    monkeypatch.setattr("coordinator.store.retention.MOST_UNPLANNED", 10)
    estate = world.estate
    tcp = [t for t in estate.plan if t.protocol is Protocol.TCP and t.cycle]
    targets = {t.agent: t for t in tcp if t.address in ("10.30.0.10", "10.10.0.10")}
    honest, invents = key_of(targets["prod-1"]), key_of(targets["dev-1"])
    gone = replace(honest, source_address="10.30.0.99")
    held = [honest, invents, gone, *(replace(invents, source_address=f"198.51.100.{n}") for n in range(30))]
    for number, key in enumerate(held):
        closed = judged(evidence(targets[key.agent], State.FILTERED), f"R{number}", run="", at=NOW - 100 + number)
        estate.matrix.update(key, PortSet.of([22]), closed)
        estate._unsaved[key] = None
    run(estate.review())
    assert len(world.store.cells()) == 33
    run(estate.forget())
    assert set(estate.matrix) == {key for key, _, _ in world.store.cells()} == {*held[:3], *held[-10:]}
    assert estate.standing() == {"R0", "R1", "R2", *(f"R{n}" for n in range(23, 33))}


def test_a_file_that_shrank_gives_its_room_back_to_the_disk(world: Coordinator, tmp_path: Path) -> None:
    def pages() -> int:
        with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
            return int(db.execute("PRAGMA page_count").fetchone()[0])

    chance = random.Random(7)
    for number in range(1, 9):  # noise does not compress well
        reports = [
            SourceReport(round=f"R{each}", agent=f"dev-{number}", problems=(chance.randbytes(12_000).hex(),))
            for each in range(50)
        ]
        world.store.take(f"dev-{number}", "s", 1, 1, reports, NOW)
    peak = pages()
    assert peak > 1000
    world.now += ROUNDS_S + 1
    run(world.estate.forget())
    for _ in range(3):
        run(world.estate.forget())
    assert pages() < peak // 2


def test_what_a_round_shows_is_dated_by_its_beginning_and_never_in_the_future(world: Coordinator) -> None:
    """The clock may have been set back since: what is dated ahead would outlive all that comes after it."""
    target = next(t for t in world.estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    key, found = key_of(target), judged(evidence(target, State.OPEN), "R1", run="")
    spec = RoundSpec(
        round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev",
        destination="prod", targets=(),
    )  # fmt: skip
    world.store.start_round(spec, "R1", NOW)
    for now, at in ((NOW + 30, NOW), (NOW - 3600, NOW - 3600)):
        world.now = now
        run(world.estate.take_judged(spec, [JudgedRow(key, PortSet.of([22]), found)]))
        assert [row.observed_at for _, row in world.estate.matrix.rows(key)] == [at]
