"""The report's figures are those of `matrix` and `coverage` at one moment; what a person hands over is all in it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from cli.report.words import lost
from coordinator.api import report, verify, views
from coordinator.state.estate import Estate as Live
from coordinator.store import Losses, Store
from reachability.finding import Status
from reachability.matrix import Matrix
from reachability.ports import PortSet
from reachability.topology import Mark, PortSpec, Selector, Waiver
from reachability.vocabulary import Protocol, Result, State
from tests.support.answers import json_of
from tests.support.sample import NOW, Estate, evidence, judged, observe, topology
from tests.support.virtual import run

DEV, REGISTRY = Selector("dev", environment="dev"), Selector("prod.model-registry", "prod", service="model-registry")


def waiver(expires: datetime, name: str = "W-1", source: Selector = DEV) -> Waiver:
    ports = PortSpec(tcp=PortSet.of([5000]))
    return Waiver(name, source, REGISTRY, ports, "data-eng", "until the registry moves", expires, Mark(60, 5))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """A coordinator's estate with its store; its clock moves on at each reading."""
    stores = []

    def make(*waivers: Waiver) -> Live:
        store = Store(tmp_path / "state")
        stores.append(store)
        clock = count(NOW.timestamp() - 9, 1.0)
        made = Live(topology(waivers=waivers), store, lambda: next(clock))
        made.matrix = observe(made.plan, undecided=True)
        run(made.review())
        return made

    yield make
    for store in stores:
        store.close()


def test_its_figures_are_those_of_the_other_verbs() -> None:
    estate = Estate(undecided=True)
    body, cells = json_of(report.report(estate.snapshot())), estate.cells
    assert body["matrix"] == json_of(views.matrix(estate.topology, cells))
    assert body["coverage"] == json_of(views.coverage_body(estate.topology, cells))
    assert [entry["finding"] for entry in body["findings"]] == json_of(
        views.findings(estate.topology, estate.book.findings)
    )
    assert body["unproven"] == json_of(verify.unproven(estate.situation(), cells))
    assert (body["result"], body["untested"], body["suspected"]) == ("fail", [], 0)
    assert sum(body["summary"].values()) == body["coverage"]["cells"]
    proven = sum(proof["cells"] for proof in body["proofs"])
    assert proven == body["coverage"]["cells"] - body["summary"]["not_run"]
    for name in ("pass", "fail", "waived", "inconclusive", "stale"):
        assert sum(proof["results"][name] for proof in body["proofs"]) == body["summary"][name]
    assert {proof["row"] for proof in body["proofs"]} == {2, 15, 16, 18}
    json.dumps(body)


def test_it_is_of_one_moment(live: Callable[..., Live]) -> None:
    expires = NOW - timedelta(seconds=6.5)
    estate = live(waiver(expires))
    taken = report.snapshot(estate)
    cells = taken.cells
    before = json_of(report.report(taken))
    [said] = before["waivers"]
    assert taken.at < expires.timestamp() < taken.at + 1
    assert said["in_force"]
    assert said["cells"] == 1 == sum(cell.result is Result.WAIVED for cell in cells)
    estate.matrix = Matrix()
    estate.take_topology(topology(paths=()))
    assert run(estate.review()) == ()
    assert json_of(report.report(taken)) == before
    assert before["matrix"] == json_of(views.matrix(taken.topology, cells))
    assert json_of(report.report(report.snapshot(estate)))["summary"]["pass"] == 0


def test_a_finding_has_its_life_and_its_evidence() -> None:
    estate = Estate()
    [finding] = estate.book.findings
    estate.events.append(estate.book.acknowledge(finding.id, "ada", "closing it today", NOW))
    [entry] = json_of(report.report(estate.snapshot()))["findings"]
    explained = json_of(estate.explain(finding=finding.id))
    assert explained.pop("exchange") is None
    assert explained.pop("names") == []
    assert entry == {**explained, "waiver": None, "path": None, "shown": ["01JDA"]}
    assert entry["acknowledged"] == {"by": "ada", "reason": "closing it today"}
    assert [event["what"] for event in entry["history"]] == ["opened", "acknowledged"]
    assert (entry["row"]["number"], entry["evidence"]["sent"]) == (2, 3)


def test_a_waiver_says_whether_it_is_in_force_and_what_it_covers() -> None:
    month, staging = timedelta(days=30), Selector("staging", environment="staging")
    waivers = (waiver(NOW + month), waiver(NOW - month, "W-2"), waiver(NOW + month, "W-3", staging))
    estate = Estate(waivers=waivers)
    body = json_of(report.report(estate.snapshot()))
    covering, expired, idle = body["waivers"]
    assert (covering["in_force"], covering["cells"], covering["findings"]) == (True, 1, [estate.book.findings[0].id])
    assert (expired["in_force"], expired["cells"], expired["findings"]) == (False, 0, [])
    assert (idle["in_force"], idle["cells"]) == (True, 0)
    assert (covering["owner"], covering["line"], covering["ports"]) == ("data-eng", 60, "tcp/5000")
    assert body["findings"][0]["waiver"] == "W-1"
    assert body["result"] == "pass"


def test_a_declared_path_says_what_it_came_to() -> None:
    estate = Estate()
    path = estate.topology.paths[0]
    nowhere = replace(path, name="nowhere", source=Selector("192.0.2.0/24"), mark=Mark())
    estate.topology = replace(estate.topology, paths=(path, nowhere))
    promotes, unused = json_of(report.report(estate.snapshot()))["paths"]
    assert (promotes["name"], promotes["result"], promotes["cells"], promotes["expect"]) == (
        "ci-promotes-models",
        "pass",
        1,
        "required",
    )
    assert (unused["result"], unused["cells"], unused["line"]) == (None, 0, None)


def test_lost_reports_are_told_as_coverage_tells_them() -> None:
    estate = Estate()
    losses = {"dev-1": Losses(batches=2, reports=12, since=NOW.timestamp() - 60, until=NOW.timestamp(), why="bytes")}
    made = report.report(replace(estate.snapshot(), losses=losses))
    body = json_of(made)
    assert body["coverage"] == json_of(views.coverage_body(estate.topology, estate.cells, losses))
    assert body["coverage"]["lost"][0]["reports"] == 12
    said = "dev-1: 12 reports lost, made 2026-11-23 12:05:07 to 2026-11-23 12:06:07 UTC (its spool was full)"
    assert lost(made) == [said]


def test_a_suspicion_is_counted_and_not_listed() -> None:
    estate = Estate()
    taken = estate.snapshot()
    suspected = tuple(replace(finding, status=Status.SUSPECTED) for finding in taken.findings)
    body = json_of(report.report(replace(taken, findings=suspected)))
    assert (body["suspected"], body["findings"], body["result"]) == (1, [], "fail")


def test_what_was_not_observed_yet() -> None:
    taken = Estate().snapshot()
    body = json_of(report.report(replace(taken, cells=(), findings=(), events=())))
    assert (body["result"], body["proofs"], len(body["untested"])) == ("inconclusive", [], 12)
    assert body["observed"] == {"from": None, "to": None}


def test_a_resolved_finding_is_shown_by_what_closed_it() -> None:
    estate = Estate()
    [finding] = estate.book.findings
    for key in list(estate.matrix):
        if key.agent == "dev-1" and key.address == "10.30.0.21" and key.protocol is not Protocol.ICMP:
            target = next(
                t for t in estate.plan if t.agent == "dev-1" and t.address == key.address and t.protocol is key.protocol
            )
            estate.matrix.update(key, PortSet.of([5000]), judged(evidence(target, State.FILTERED), "02JZZ"))
    estate.events += estate.book.apply(estate.cells, NOW, 1)
    [entry] = json_of(report.report(estate.snapshot()))["findings"]
    assert (entry["finding"]["id"], entry["finding"]["status"], entry["result"]) == (finding.id, "resolved", "pass")
    assert entry["round"]["id"] == "02JZZ"
    assert [event["what"] for event in entry["history"]] == ["opened", "resolved"]


def test_a_period_has_what_happened_in_it_and_who_stood() -> None:
    now, day = NOW.timestamp(), 86400.0
    estate = Estate()
    [finding] = estate.book.findings
    estate.events.append(estate.book.acknowledge(finding.id, "ada", "closing it today", NOW))
    taken = estate.snapshot(report.Span(now - day, now + 1))
    long_gone = replace(finding, id="F-1", status=Status.RESOLVED, first_seen=now - 9 * day, resolved_at=now - 8 * day)
    just_gone = replace(long_gone, id="F-2", resolved_at=now - day / 2)
    later = replace(just_gone, id="F-3", first_seen=now - day / 4, resolved_at=now - day / 8)
    before = replace(taken.events[0], at=now - 2 * day, text="of the day before")
    taken = replace(taken, findings=(*taken.findings, long_gone, just_gone, later), events=(before, *taken.events))
    body = json_of(report.report(taken))
    assert body["period"]["since"] == "2026-11-22T12:06:07.000Z"
    assert body["period"]["known_since"] is None
    assert [(event["what"], event["by"]) for event in body["period"]["events"]] == [
        ("acknowledged", "ada"),
        ("opened", None),
    ]
    assert {entry["finding"]["id"] for entry in body["findings"]} == {finding.id, "F-2", "F-3"}
    earlier = report.report(replace(taken, span=report.Span(now - day, now - day / 3)))
    assert {entry.finding.id for entry in earlier.findings} == {finding.id, "F-2"}, "what stands now is never left out"
    whole = json_of(report.report(replace(taken, span=None)))
    assert whole["period"] is None
    assert len(whole["findings"]) == 4
    for name in ("matrix", "coverage", "summary", "proofs"):
        assert body[name] == whole[name], "figures are of the moment, whatever the period"


def test_a_period_of_which_not_all_is_kept_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now, years = NOW.timestamp(), 3 * 365 * 86400.0
    taken = Estate().snapshot(report.Span(now - years, now))
    assert json_of(report.report(taken))["period"]["known_since"] == "2025-11-22T12:06:07.000Z"
    monkeypatch.setattr(report, "MOST_EVENTS", len(taken.events))
    assert json_of(report.report(taken))["period"]["known_since"] == "2026-11-23T12:06:07.000Z"


def test_a_period_ends_after_it_begins_and_not_in_the_future(live: Callable[..., Live]) -> None:
    estate, now = live(), NOW.timestamp()
    assert report.snapshot(estate).span is None
    span = report.snapshot(estate, now - 3600, now + 3600).span
    assert span is not None
    assert now - 60 < span.until < now + 60
    for since, until in ((now + 3600, None), (now - 60, now - 60), (now - 60, now - 120)):
        with pytest.raises(ValueError, match="it must begin before it ends"):
            report.snapshot(estate, since, until)
