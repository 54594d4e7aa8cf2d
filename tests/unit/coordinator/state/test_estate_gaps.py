"""What the coordinator does about reports that an agent had to drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cli.commands.coverage import listing
from cli.show.render import Paint
from coordinator.api import agents, metrics, views
from coordinator.api.responses.estate import Coverage
from coordinator.store import Losses
from coordinator.store.spools import NEVER_SENT
from reachability.observation import SourceReport
from tests.support.answers import as_struct, json_of
from tests.support.coordinator import NOW, Coordinator, batch
from wire.messages import Gap, Status

GAP = Gap(first=2, last=4, reports=3, why="bytes", begun_age_s=60.0, ended_age_s=30.0)


def test_a_gap_is_shown_wherever_a_person_looks_and_outlives_a_restart(world: Coordinator, tmp_path: Path) -> None:
    assert world.hear(batch(1)) == [1]
    assert world.hear(Status(name="dev-1", environment="dev", online=True, lost=3, untold=3)) == []
    assert world.lost() == {"batches": 0, "reports": 0, "from": None, "to": None, "why": [], "untold": 3}
    for _ in range(2):
        assert world.hear(batch(4, GAP, reports=0)) == [4]
    world.hear(Status(name="dev-1", environment="dev", online=True, lost=3))
    shown = {
        "batches": 3, "reports": 3, "from": "2024-01-01T08:59:00.000Z", "to": "2024-01-01T08:59:30.000Z", "why": ["bytes"]
    }  # fmt: skip
    assert world.lost() == {**shown, "untold": 0}
    world.store.close()
    again = Coordinator(tmp_path)
    assert again.lost() == {**shown, "untold": 0}
    estate = again.estate
    [gap] = json_of(agents.gaps_body(estate.topology, again.store.gaps()))
    assert gap == {
        "agent": "dev-1", "environment": "dev", "spool": "5b1c", "first": 2, "last": 4, **shown,
        "noticed": "2024-01-01T09:00:00.000Z",
    }  # fmt: skip
    coverage = json_of(views.coverage_body(estate.topology, estate.cells(), estate.losses))
    assert coverage["lost"] == [{"agent": "dev-1", "environment": "dev", **shown}]
    text = "\n".join(listing(as_struct(coverage, Coverage), Paint(color=False)))
    assert "! dev-1: 3 reports lost, made 2024-01-01 08:59:00 to 2024-01-01 08:59:30 UTC (its spool was full)" in text
    exposed = metrics.exposition(
        estate.topology, estate.cells(), (), estate.agents.values(), again.engine.durations, losses=estate.losses
    )
    assert 'segwatch_agent_lost_reports_total{agent="dev-1",environment="dev"} 3.0' in exposed
    assert 'segwatch_agent_lost_reports_total{agent="prod-1",environment="prod"} 0.0' in exposed
    labels = '{agent="dev-1",environment="dev",why="bytes"}'
    times = {"from": NOW - 60, "until": NOW - 30}
    for name, at in times.items():
        [line] = [
            line for line in exposed.splitlines() if line.startswith(f"segwatch_agent_lost_{name}_timestamp_seconds{{")
        ]
        assert (line.split(" ")[0].partition("{")[2], float(line.split(" ")[1])) == (labels[1:], at)
    assert 'segwatch_agent_spooled_batches{agent="dev-1",environment="dev"} 0.0' in exposed
    again.runner.close()
    world.store = again.store


def test_the_gap_of_an_agent_that_is_declared_no_more_is_in_the_metrics_too(world: Coordinator) -> None:
    lost = {"dev-9": Losses(batches=2, reports=5, since=1.0, until=2.0, why="age,bytes")}
    exposed = metrics.exposition(world.estate.topology, (), (), (), world.engine.durations, losses=lost)
    assert 'segwatch_agent_lost_reports_total{agent="dev-9",environment=""} 5.0' in exposed
    assert 'segwatch_agent_lost_until_timestamp_seconds{agent="dev-9",environment="",why="age,bytes"} 2.0' in exposed


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 0},
        {"first": 5},
        {"last": 2**63},
        {"reports": -1},
        {"reports": 2**60},
        {"begun_age_s": float("nan")},
        {"why": "x" * 1000},
    ],
)
def test_a_gap_that_cannot_be_is_refused(world: Coordinator, bad: dict[str, Any]) -> None:
    fields = {name: getattr(GAP, name) for name in GAP.__struct_fields__}
    assert world.hear(batch(5, Gap(**{**fields, **bad}))) == []
    assert world.store.gaps() == []
    assert world.hear(batch(2**63)) == []
    assert world.hear(batch(1)) == [1]


def test_a_spool_that_was_set_back_in_part_is_told_so_and_nothing_of_it_is_lost(world: Coordinator) -> None:
    """An older copy went on where it was, and further than what was acknowledged: its numbers alone show nothing."""
    world.hear(*(batch(number) for number in range(1, 5)))
    other = [replace(batch(number), sources=(SourceReport(round=f"N{number}", agent="dev-1"),)) for number in (3, 4, 5)]
    assert world.hear(*other) == [NEVER_SENT], "a later acknowledgement does not hide it"
    held = {name for (name,) in world.store._db.execute("SELECT round FROM reports")}
    assert held == {"R1", "R2", "R3", "R4", "N3", "N4", "N5"}
    again = [replace(one, spool="new", sequence=number) for number, one in enumerate(other, 1)]
    assert world.hear(*again) == [3], "under its new id"
    assert world.store._db.execute("SELECT COUNT(*) FROM reports").fetchone() == (7,), "each once"
