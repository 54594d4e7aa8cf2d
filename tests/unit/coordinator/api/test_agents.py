"""The roster as `status` shows it."""

from __future__ import annotations

from coordinator.api.agents import agents_body
from coordinator.state.roster import AgentState

HERE = ("10.10.0.10", "172.17.0.1")


def test_agents_of_two_environments_on_one_host_are_told_so() -> None:
    """Between them packets go by lo: no cell of theirs can be tested, and the person should know why."""
    one, other = (
        AgentState(name="dev-1", environment="dev", addresses=HERE),
        AgentState(name="prod-1", environment="prod", addresses=HERE[::-1]),
    )
    same, alike = (
        AgentState(name="dev-2", environment="dev", addresses=HERE),
        AgentState(name="test-1", environment="test", addresses=HERE[1:]),
    )
    said = {body.name: body.problem for body in agents_body([one, other, same, alike], 0.0)}
    assert said["dev-1"] == (
        "on one host with prod-1: nothing between them crosses a boundary; give each environment a host"
    )
    assert said["prod-1"] is not None
    assert said["prod-1"].startswith("on one host with dev-1, dev-2:")
    assert said["test-1"] is None, "a bridge of the same address is on many hosts"
    assert {
        body.problem
        for body in agents_body([AgentState(name="a", environment="x"), AgentState(name="b", environment="y")], 0.0)
    } == {None}


def test_whether_each_has_confirmed_a_stop_and_why_it_sends_nothing() -> None:
    agents = [AgentState(name="a", environment="x", not_now="its lease is over"), AgentState(name="b", environment="y")]
    stopped = agents_body(agents, 0.0, confirmed=lambda agent: "confirmed" if agent.name == "a" else "not yet")
    assert [(body.stop, body.not_now) for body in stopped] == [("confirmed", "its lease is over"), ("not yet", None)]
    assert [body.stop for body in agents_body(agents, 0.0)] == [None, None], "nothing is stopped"
