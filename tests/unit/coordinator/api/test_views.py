"""Every JSON body has the keys of the design, and the cells partition the plan."""

import json
from dataclasses import replace
from typing import Any

import pytest

from coordinator.api import agents, verify, views
from coordinator.api.explain import NothingToExplainError
from coordinator.state.roster import AgentState
from reachability.advice import ADVICE, ROWS
from reachability.compare import compare, in_scope, key_of
from reachability.finding import Status
from reachability.matrix import Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import PortSet
from reachability.situation import Situation
from reachability.topology import PortSpec, Probing, Topology
from reachability.vocabulary import Protocol, Result, State
from tests.support.answers import json_of
from tests.support.sample import NOW, STARTED, Estate, evidence, judged, topology

SUMMARY = {"pass", "fail", "waived", "inconclusive", "stale", "not_run"}
CELL = (
    "agent source source_address address destination service protocol ports declared state reason reachability proof "
    "result required waiver observed_at row"
)
FINDING = (
    "id kind status severity result source destination protocol ports declared reachability proof reason identified cwe "
    "impact first_seen last_seen cells flapping recent"
)


def test_matrix() -> None:
    estate = Estate()
    body = json_of(views.matrix(estate.topology, estate.cells))
    assert set(body) == {"environments", "pairs"}
    assert body["environments"] == ["dev", "test", "staging", "prod"]
    assert len(body["pairs"]) == 12
    assert all(set(pair) == {"source", "destination", "results", "coverage"} for pair in body["pairs"])
    assert all(set(pair["results"]) == SUMMARY for pair in body["pairs"])
    json.dumps(body)


def test_cells_are_each_in_one_entry_tested_or_not() -> None:
    probing = Probing(sweep_ports=PortSpec(tcp=PortSet.parse("1-1000"), udp=PortSet.parse("1-300")), confirm=1)
    estate = Estate(undecided=True)
    declared = topology(probing=probing)
    plan = in_scope(views_plan(declared), sweep=True)
    cells = json_of(views.matrix(declared, compare(declared, plan, estate.matrix, NOW), with_cells=True))["cells"]
    assert all(list(cell) == CELL.split() for cell in cells)
    assert all((cell["ports"] is None) is (cell["protocol"] == "icmp") for cell in cells)
    assert all(cell["ports"] != "" for cell in cells)
    wanted = {
        (t.agent, t.source_address, t.destination, t.address, t.protocol.value): t.ports
        for t in plan
        if t.protocol is not Protocol.ICMP
    }
    for key, ports in wanted.items():
        mine = [
            PortSet.parse(cell["ports"])
            for cell in cells
            if (cell["agent"], cell["source_address"], cell["destination"], cell["address"], cell["protocol"]) == key
        ]
        assert sum(map(len, mine)) == len(ports)
        assert PortSet.from_ranges(span for one in mine for span in one.ranges) == ports
    assert {cell["result"] for cell in cells} == {"pass", "fail", "inconclusive", "not-run"}
    untested = next(cell for cell in cells if cell["result"] == "not-run")
    assert untested["state"] is untested["reason"] is untested["observed_at"] is untested["row"] is None


def views_plan(declared: Topology) -> tuple[PlanTarget, ...]:
    return build_plan(declared, {}, {})


def test_verify() -> None:
    body = json_of(Estate().run_body(with_cells=True))["result"]
    keys = ["result", "started", "finished", "summary", "coverage", "findings", "agents", "untested", "cells"]
    assert list(body) == keys
    assert set(body["summary"]) == SUMMARY
    assert (body["result"], body["summary"]["fail"], len(body["findings"])) == ("fail", 1, 1)
    assert body["started"] == "2026-11-23T12:06:02.800Z"
    assert [agent["state"] for agent in body["agents"]] == ["connected", "lost", "connected", "connected"]
    assert sum(body["summary"].values()) == sum(
        1 if cell["ports"] is None else len(PortSet.parse(cell["ports"])) for cell in body["cells"]
    )


@pytest.mark.parametrize(
    ("estate", "result"),
    [({}, "fail"), ({"leak": False}, "pass"), ({"leak": False, "undecided": True}, "inconclusive")],
)
def test_outcome(estate: dict[str, bool], result: str) -> None:
    assert Estate(**estate).run_body().result.result == result


def test_a_pair_without_a_cell_is_no_pass() -> None:
    cells = Estate(leak=False).cells
    assert verify.outcome(cells) == "pass"
    assert verify.outcome([]) == "inconclusive"
    assert verify.outcome(cells, [("dev", "prod")]) == "inconclusive"
    less = [cell for cell in cells if cell.pair != ("dev", "prod")]
    topology = Estate(leak=False).topology

    def body(scope: tuple[str | None, str | None] = (None, None)) -> Any:
        return json_of(verify.verify(topology, less, [], [], started=1.0, finished=2.0, scope=scope))

    assert body()["untested"] == [{"source": "dev", "destination": "prod"}]
    assert body()["result"] == "inconclusive"
    assert body(scope=("test", None))["result"] == "pass"


def test_what_need_not_be_proven_gives_no_exit_code() -> None:
    cells = [replace(cell, required=False, result=Result.INCONCLUSIVE) for cell in Estate(leak=False).cells]
    assert verify.outcome(cells) == "pass"
    assert verify.outcome([replace(cells[0], required=True), *cells[1:]]) == "inconclusive"


def test_checks_do_not_hang_on_the_outcome() -> None:
    leaking, tight = json_of(Estate().run_body()), json_of(Estate(leak=False).run_body())
    names = [(check["source"], check["destination"], check["path"]) for check in leaking["checks"]]
    assert names == [(check["source"], check["destination"], check["path"]) for check in tight["checks"]]
    assert len(names) == 13
    assert [check["result"] for check in leaking["checks"]].count("fail") == 1
    assert {check["result"] for check in tight["checks"]} == {"pass"}
    [failing] = [check for check in leaking["checks"] if check["result"] == "fail"]
    assert failing["findings"] == [leaking["result"]["findings"][0]["id"]]
    assert failing["evidence"][0].startswith(
        "fail: dev-1 10.10.0.10 -> 10.30.0.21 tcp/5000: reachable (replied, row 2)"
    )


def test_what_is_unproven_says_what_would_settle_it() -> None:
    [entry] = json_of(Estate(undecided=True).run_body())["unproven"]
    assert (entry["source"], entry["address"], entry["ports"], entry["reason"]) == (
        "test",
        "10.30.0.21",
        "22,53",
        "silent-inside",
    )
    assert entry["settle"] == "install an agent on 10.30.0.21, or narrow probing.sweep"


def test_an_empty_estate_is_not_run() -> None:
    declared = topology()
    cells = compare(declared, views_plan(declared), Matrix(), NOW)
    body = json_of(verify.verify(declared, cells, (), (), started=STARTED, finished=NOW.timestamp()))
    assert (body["result"], body["coverage"]) == ("inconclusive", 0.0)
    assert {entry["settle"] for entry in json_of(verify.unproven(Situation(topology=declared), cells))} == {
        "wait for the next cycle, or `segwatch verify`"
    }


def test_findings() -> None:
    estate = Estate()
    [body] = json_of(views.findings(estate.topology, estate.book.findings))
    assert list(body) == FINDING.split()
    assert body["source"] == {"environment": "dev", "agent": "dev-1"}
    assert body["destination"] == {"environment": "prod", "service": "model-registry", "addresses": ["10.30.0.21"]}
    assert (body["severity"], body["cwe"], body["impact"]) == ("critical", ["CWE-653", "CWE-668"], ["model tampering"])
    assert (body["kind"], body["status"], body["ports"], body["identified"]) == (
        "unexpected-path",
        "open",
        "5000",
        "200 MLflow",
    )


def test_a_suspicion_is_listed_by_a_run_alone() -> None:
    estate = Estate()
    [finding] = estate.book.findings
    suspected = replace(finding, status=Status.SUSPECTED)
    assert json_of(views.findings(estate.topology, [suspected])) == []
    assert json_of(views.finding_body(estate.topology, suspected))["status"] == "open"


def test_what_flaps_says_so_with_its_figures() -> None:
    estate = Estate()
    [finding] = estate.book.findings
    body = json_of(views.finding_body(estate.topology, finding))
    assert (body["flapping"], body["recent"]) == (False, {"rounds": 1, "failing": 1, "changes": 0})
    body = json_of(views.finding_body(estate.topology, replace(finding, recent="x.x.xx")))
    assert (body["flapping"], body["recent"]) == (True, {"rounds": 6, "failing": 4, "changes": 4})


def test_an_environment_that_is_gone_does_not_break_its_findings() -> None:
    estate = Estate()
    environments = {name: env for name, env in estate.topology.environments.items() if name != "prod"}
    gone = replace(estate.topology, environments=environments)
    assert json_of(views.findings(gone, estate.book.findings))[0]["severity"] == "low"


def test_coverage() -> None:
    estate = Estate(undecided=True)
    body = json_of(views.coverage_body(estate.topology, estate.cells))
    pair = next(p for p in body["pairs"] if (p["source"], p["destination"]) == ("test", "prod"))
    assert (pair["inconclusive"], pair["required"] - pair["proven"]) == (2, 2)
    assert pair["coverage"] < body["coverage"] < 1.0
    assert body["not_swept"] == []
    assert body["not_tested"] == ["sctp", "dccp", "udplite", "gre", "esp", "ah", "ipip", "igmp", "ospf", "vrrp"]


def test_status_and_history() -> None:
    estate = Estate()
    body = json_of(estate.status())
    assert (body["findings"], body["now"], body["stopped"]) == (1, "2026-11-23T12:06:07.000Z", None)
    assert body["agents"][1]["age_s"] == 180.0
    [event] = json_of(views.history(estate.events, estate.topology, {f.id: f for f in estate.book.findings}))
    assert (event["what"], event["severity"], event["at"]) == ("opened", "critical", "2026-11-23T12:06:07.000Z")


def test_an_agent_that_never_came_is_missing() -> None:
    [body] = json_of(agents.agents_body([AgentState(name="x", environment="dev")], 1.0))
    assert (body["state"], body["last_seen"], body["age_s"]) == ("missing", None, None)


def test_explain_a_finding() -> None:
    estate = Estate()
    body = json_of(estate.explain(finding=estate.book.findings[0].id))
    assert body["declared"]["at"] == "topology.yaml:41-46"
    assert body["declared"]["nearest"]["path"] == "ci-promotes-models"
    assert (body["row"]["number"], body["round"]["id"], body["cell"]["ports"]) == (2, "01JDA", "5000")
    assert body["history"][0]["what"] == "opened"
    assert "firewall" in body["settle"][0]
    json.dumps(body)


@pytest.mark.parametrize(
    ("asked", "result", "text"),
    [
        (("dev-1", "10.30.0.10", "tcp/22"), "pass", "denied: no path"),
        (("staging", "prod.model-registry", "tcp/5000"), "pass", "required by path 'ci-promotes-models' (ml-platform)"),
        (("test.test-1", "10.30.0.21", "tcp/53"), "inconclusive", "denied"),
        (("dev-1", "10.30.0.21", "icmp"), "pass", "denied"),
    ],
)
def test_explain_a_cell(asked: tuple[str, str, str], result: str, text: str) -> None:
    body = json_of(Estate(undecided=True).explain(asked=asked))
    assert body["result"] == result
    assert body["declared"]["text"].startswith(text)
    assert bool(body["settle"]) is (result == "inconclusive")
    assert body["finding"] is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("nobody", "10.30.0.21", "tcp/22"), "no agent 'nobody'; it has: dev-1"),
        (("dev-1", "10.99.0.1", "tcp/22"), "does not probe '10.99.0.1'"),
        (("dev-1", "10.30.0.21", "tcp/4"), "in no cycle and no sweep"),
        (("dev-1", "10.30.0.21", "tcp/70000"), "is not a port"),
        (("dev-1", "10.30.0.21", "http"), "is not a port"),
    ],
)
def test_explaining_what_is_not_there_says_what_is(asked: tuple[str, str, str], message: str) -> None:
    with pytest.raises(NothingToExplainError, match=message):
        Estate().explain(asked=asked)


def test_a_finding_whose_cells_left_the_plan_is_still_explained() -> None:
    estate = Estate()
    name = estate.book.findings[0].id
    estate.plan = tuple(target for target in estate.plan if target.destination != "prod")
    body = json_of(estate.explain(finding=name))
    assert (body["cell"], body["evidence"], body["row"]) == (None, None, None)
    assert "no longer in the plan" in body["declared"]["text"]


def test_every_row_has_its_words() -> None:
    assert set(ROWS) == set(range(1, 19))
    assert all(advice.means and advice.settle for advice in ADVICE.values())


def test_a_required_path_that_is_shut_is_missing() -> None:
    estate = Estate(leak=False)
    target = next(t for t in estate.plan if t.agent == "staging-1" and t.address == "10.30.0.21" and t.service_ports)
    shut = judged(evidence(target, State.FILTERED), "r2", at=NOW.timestamp())
    estate.matrix.update(key_of(target), PortSet.of([5000]), shut)
    estate.book.apply(estate.cells, NOW, 1)
    [body] = json_of(views.findings(estate.topology, estate.book.findings))
    assert (body["kind"], body["cwe"], body["impact"]) == ("missing-path", [], ["operational disruption"])
    assert estate.explain(finding=body["id"]).settle[0].startswith("let 10.20.0.10 reach")
