"""A round's evidence is of those who were asked, and a spool's batches of the agent that it belongs to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.state.reports import round_data
from coordinator.store import Report, Store, Taken
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, Role, RoundKind, Schedule

TARGET = Target(
    id=1,
    environment="prod",
    address="10.30.0.10",
    protocol=Protocol.TCP,
    ports=PortSet.parse("22"),
    witness="prod-1",
    inside="prod-2",
)
SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule=Schedule.CYCLE,
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(TARGET,),
)


def test_reports_of_those_who_were_not_asked_count_for_nothing() -> None:
    witness = WitnessReport(round="R1", agent="prod-1")
    source = SourceReport(round="R1", agent="dev-1")
    inside = replace(source, agent="prod-2", role=Role.INSIDE)
    strangers: list[Report] = [replace(witness, agent="test-1"), replace(inside, agent="test-1")]
    strangers.append(replace(source, agent="prod-3"))
    data = round_data(SPEC, {}, [*strangers, witness, source, inside, *strangers])
    assert data.witnesses == (witness,)
    assert data.source == source
    assert data.insides == (inside,)


@pytest.mark.parametrize(("sequence", "oldest"), [(1, 1), (2, 1), (50, 50)])
def test_nobody_acknowledges_what_anothers_spool_holds(tmp_path: Path, sequence: int, oldest: int) -> None:
    store = Store(tmp_path)
    assert store.take("prod-1", "s", 1, 1, [], 1.0) == Taken(new=True, acknowledged=1)
    mine = store.take("dev-1", "s", sequence, oldest, [SourceReport(round="R1", agent="dev-1")], 1.0)
    assert (mine.new, mine.acknowledged) == (True, sequence if sequence == oldest else 0), "it has a spool of its own"
    assert store.take("prod-1", "s", 2, 1, [], 1.0) == Taken(new=True, acknowledged=2)
    store.start_round(SPEC, "R1", 1.0)
    ((_, _, reports),) = store.group_of("R1")
    assert [report.agent for report, _ in reports] == ["dev-1"]
    store.close()
