"""A round's evidence is of those who were asked, and a spool's batches of the agent that it belongs to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.rounds.in_flight import Live
from coordinator.state.reports import round_data
from coordinator.store import Part, Report, Store, Taken
from reachability.arrival import WitnessHealth, WitnessReport
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, Reason, Role, RoundKind, Schedule, State
from tests.support.virtual import run
from wire.messages import Arm, Armed, Done

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


ROUND: dict[str, Any] = {"round": "R1", "agent": "prod-1"}


def live() -> Live:
    return Live(SPEC, bytes(16), changed=asyncio.Event(), passed_at=0.0)


def test_who_is_ready_takes_part_as_the_process_that_said_so() -> None:
    round_ = live()
    round_.heard("prod-1", Armed(**ROUND, ok=True, instance="a"))
    assert round_.parts == {"prod-1": Part(whole=True, instance="a")}
    round_.heard("prod-1", Armed(**ROUND, ok=True, instance="a"))
    assert not round_.problems
    round_.heard("prod-1", Armed(**ROUND, ok=True, instance="b"))
    assert round_.parts["prod-1"].two_holders
    assert round_.problems == ["prod-1: another process than the one that was asked answers under its name"]


def test_one_that_does_not_listen_is_no_witness_and_its_reason_is_kept() -> None:
    round_ = live()
    round_.heard("prod-1", Armed(**ROUND, ok=False, problems=("no capture", "here")))
    assert round_.parts == {"prod-1": Part(whole=False, why="no capture; here")}
    seen = WitnessReport(round="R1", agent="prod-1", health=(WitnessHealth(address="10.30.0.10", healthy=True),))
    ((health,),) = (w.health for w in round_data(SPEC, round_.parts, [seen]).witnesses)
    assert (health.healthy, health.why) == (False, "no capture; here")


def test_only_the_process_that_was_sent_off_is_done() -> None:
    async def scene() -> None:
        round_ = live()
        round_.parts["dev-1"] = Part(instance="a")
        done = Done(round="R1", agent="dev-1", sequence=1, instance="b")
        round_.heard("dev-1", done)
        assert round_.done is None
        assert round_.parts["dev-1"].two_holders
        round_.heard("dev-1", msgspec.structs.replace(done, instance="a"))
        assert round_.done is not None

    run(scene())


@pytest.mark.parametrize("said", ["", "a"])
def test_an_older_version_does_not_say_which_process_it_is(said: str) -> None:
    parts = {"prod-1": Part(whole=True, instance=said)}
    heard = WitnessReport(round="R1", agent="prod-1", instance="" if said else "a")
    assert round_data(SPEC, parts, [heard]).witnesses == (heard,)
    other = replace(heard, instance="b")
    assert round_data(SPEC, parts, [other]).witnesses == (() if said else (other,))


def test_a_round_whose_source_was_not_heard_to_be_done_has_no_witness_that_heard_all() -> None:
    round_ = live()
    round_.parts = {"prod-1": Part(whole=True, instance="a"), "dev-1": Part(instance="c")}
    round_.settle(["dev-1", "prod-2"])
    assert round_.parts == {
        "prod-1": Part(whole=False, instance="a"),
        "dev-1": Part(instance="c", two_holders=True),
        "prod-2": Part(two_holders=True),
    }
    data = round_.data()
    assert dict(data.armed) == {"prod-1": False, "dev-1": False, "prod-2": False}
    assert data.two_holders == {"dev-1", "prod-2"}


def test_of_an_inside_control_both_askings_are_waited_for_where_something_answered() -> None:
    asked = Arm(round="R1", key=bytes(16), kind=RoundKind.NORMAL, source="dev-1", inside=(TARGET,))
    seen = Observation(
        target=1, source_address="", address=TARGET.address, protocol=Protocol.TCP, state=State.CLOSED, reason=Reason.RESET,
        ports=TARGET.ports,
    )  # fmt: skip
    first = SourceReport(round="R1", agent="prod-2", role=Role.INSIDE, instance="a", observations=(seen,))
    round_ = live()
    round_.done = Done(round="R1", agent="dev-1", sequence=1)
    assert not round_.reported("prod-2", asked)
    round_.reports = [first]
    assert not round_.reported("prod-2", asked)
    round_.reports = [first, replace(first, again=True, observations=())]
    assert round_.reported("prod-2", asked)
    round_.reports = [replace(first, instance="")]
    assert round_.reported("prod-2", asked), "an older version asks once"
    round_.reports = [replace(first, observations=(replace(seen, state=State.FILTERED, reason=Reason.NO_RESPONSE),))]
    assert round_.reported("prod-2", asked), "nobody is asked again"
    round_.reports, round_.done = [first], None
    assert round_.reported("prod-2", asked)
