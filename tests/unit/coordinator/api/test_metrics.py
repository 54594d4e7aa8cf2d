"""What `/metrics` says of what is refused and of what failed."""

from __future__ import annotations

from coordinator.api import metrics
from coordinator.rounds.durations import Durations
from coordinator.state.roster import AgentState
from coordinator.topology.load import parse_topology
from tests.support.rounds import TOPOLOGY

AGENTS = [AgentState(name=name, environment=name.partition("-")[0]) for name in ("dev-1", "prod-1")]


def lines(name: str, **given: object) -> dict[str, str]:
    text = metrics.exposition(parse_topology(TOPOLOGY), (), (), AGENTS, Durations(), **given)  # type: ignore[arg-type]
    found = [line.rpartition(" ") for line in text.splitlines() if line.startswith(f"{name}{{")]
    return {labels.removeprefix(name): value for labels, _, value in found}


def test_refused_messages_by_agent_and_cause_in_labels_that_nobody_outside_makes_up() -> None:
    """Zeros too, or the first refusal would be no increase; of an agent that left the topology nothing."""
    refused = {("dev-1", "content"): 3, ("", "sender"): 2, ("gone-1", "content"): 5}
    found = lines("segwatch_messages_refused_total", refused=refused)
    assert {labels: value for labels, value in found.items() if value != "0.0"} == {
        '{agent="dev-1",cause="content"}': "3.0",
        '{agent="",cause="sender"}': "2.0",
    }
    causes = ("sender", "version", "signature", "content", "fault")
    assert found.keys() == {f'{{agent="{a}",cause="{c}"}}' for a in ("", "dev-1", "prod-1") for c in causes}


def test_rounds_that_could_not_be_judged_by_their_source() -> None:
    found = lines("segwatch_rounds_not_judged_total", faults={"prod-1": 1})
    assert found == {'{agent=""}': "0.0", '{agent="dev-1"}': "0.0", '{agent="prod-1"}': "1.0"}
