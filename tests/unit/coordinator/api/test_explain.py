"""What `explain` says of the cell that it shows."""

from __future__ import annotations

from dataclasses import replace

from coordinator.api import explain, report, verify
from tests.support.answers import json_of
from tests.support.sample import Estate


def test_the_inside_control_is_the_one_that_was_made_and_not_the_one_that_the_plan_has_now() -> None:
    estate = Estate()
    shown = explain.find_cell(estate.plan, estate.cells, ("dev-1", "10.30.0.21", "tcp/5000"))
    assert shown.target is not None
    assert shown.cell.judged is not None
    made = shown.cell.judged.evidence.inside_by
    assert made
    planned = replace(shown, target=replace(shown.target, insides=("prod-9",)))
    assert json_of(explain.explain_cell(estate.situation(), planned, estate.exchanges))["inside"] == made
    unseen = replace(planned, cell=replace(shown.cell, judged=None))
    assert json_of(explain.explain_cell(estate.situation(), unseen, estate.exchanges))["inside"] == "prod-9"


def test_what_dns_alone_places_in_an_environment_was_tried_by_no_round() -> None:
    estate = Estate()
    estate.plan = tuple(replace(target, elsewhere=target.address == "10.30.0.21") for target in estate.plan)
    body = json_of(estate.explain(asked=("dev-1", "10.30.0.21", "tcp/5000")))
    assert (body["result"], body["round"], body["exchange"]) == ("inconclusive", None, None)
    assert (body["cell"]["reason"], body["cell"]["observed_at"]) == ("resolved-elsewhere", None)
    assert "in no network of the environment" in body["means"]
    assert json_of(report.report(estate.snapshot()))["observed"]["from"]
    told = json_of(estate.run_body())
    [entry] = [one for one in told["unproven"] if one["address"] == "10.30.0.21" and one["protocol"] == "icmp"][:1]
    assert entry["reason"] == "resolved-elsewhere"
    assert "resolved-elsewhere" in str(told["checks"])
    assert "round ;" not in str(told["checks"])
    reused = verify._reused(estate.cells, "run-2", 60.0)
    assert reused.oldest is not None
    assert reused.cells < sum(cell.count for cell in estate.cells)


def test_a_green_cell_says_what_it_holds_over_and_what_it_could_have_missed() -> None:
    estate = Estate()
    green = json_of(estate.explain(asked=("dev-1", "10.30.0.10", "tcp/22")))
    assert green["result"] == "pass"
    told = green["limits"]
    evidence = green["evidence"]
    assert told["flows"] == min(evidence["flows"], evidence["covered"]) > 0
    assert (told["seconds"], told["loss"]) == (evidence["span_s"], evidence["loss"])
    assert 0 < told["share"] < 1
    assert json_of(estate.explain(asked=("dev-1", "10.30.0.21", "tcp/5000")))["limits"] is None, "a leak is shown"
    whole = json_of(report.report(estate.snapshot()))["limits"]
    assert whole["flows"] <= told["flows"]
    assert whole["share"] >= told["share"]
