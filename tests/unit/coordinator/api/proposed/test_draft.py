"""A draft holds all that was observed, each entry for review; it loads, and nothing fails under it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.api.proposed import draft
from coordinator.api.report import Snapshot
from coordinator.api.responses.report import Drafted
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.plan import build_plan
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import PortSpec, Probing, Selector, Topology, Waiver
from reachability.vocabulary import Arrival, Protocol, Reason, Require, Result, State
from reachability.what_if import Supposed
from tests.support.rounds import World
from tests.support.sample import NOW, Estate, evidence, judged, topology
from tests.support.virtual import run


def snapshot(estate: Estate) -> Snapshot:
    return estate.snapshot()


def loaded(made: Drafted) -> Topology:
    return parse_topology(made.topology.encode())


def under(estate: Estate, proposed: Topology) -> set[Result]:
    """What the cells would come to under it."""
    plan = build_plan(proposed, {}, {})
    return {cell.result for cell in Supposed(estate.topology, proposed).cells(plan, estate.matrix, NOW)}


def see(
    estate: Estate, address: str, ports: PortSet, state: State, protocol: Protocol = Protocol.TCP, **more: Any
) -> None:
    """Every agent sees this at a host."""
    for target in estate.plan:
        if (target.address, target.protocol) == (address, protocol):
            estate.matrix.update(key_of(target), ports, judged(evidence(target, state, **more), "01JDB"))


def test_what_crosses_undeclared_is_a_path_for_review_that_is_no_wider_than_what_was_seen() -> None:
    estate = Estate()
    made = draft.drafted(snapshot(estate))
    found = loaded(made)
    [kept, new] = found.paths
    assert (kept.name, kept.expect) == ("ci-promotes-models", "required")
    assert (new.source.text, new.destination.text, str(new.ports)) == ("dev.dev-1", "prod.model-registry", "tcp/5000")
    [finding] = estate.book.findings
    *_, review, seen, more = made.topology[: made.topology.index("  - name: review-")].splitlines()
    assert review == f"  # REVIEW: nobody declared this ({finding.id}); take it out if it should not be:"
    assert seen == "  #   dev-1 10.10.0.10 -> 10.30.0.21 tcp/5000: reachable (syn-ack, replied, row 2), 2026-11-23"
    assert more == "  #     12:06:06 UTC in round 01JDA"
    assert max(map(len, made.topology.partition("\nversion:")[0].splitlines())) <= 100
    assert made.review == made.topology.count("# REVIEW: ")
    assert under(estate, found) == {Result.PASS}, "nothing fails but what was declared for review"


def test_what_is_declared_says_whether_it_was_used() -> None:
    used = draft.drafted(snapshot(Estate())).topology
    assert (
        "# REVIEW: it is declared at topology.yaml:41, and was observed to work:\n  #   staging-1 10.20.0.10 -> "
        in used
    )
    estate = Estate()
    see(estate, "10.30.0.21", PortSet.of([5000]), State.FILTERED)
    idle = draft.drafted(snapshot(estate)).topology
    assert "# REVIEW: it is declared at topology.yaml:41, and nothing was observed to use it.\n  - name: ci-" in idle


def test_a_waiver_stays_one_and_is_no_path() -> None:
    ends = (Selector("dev", environment="dev"), Selector("prod.model-registry", "prod", service="model-registry"))
    estate = Estate(waivers=(Waiver("W-1", *ends, None, "ada", "migration", NOW.replace(year=2027)),))
    made = draft.drafted(snapshot(estate))
    found = loaded(made)
    assert [path.name for path in found.paths] == ["ci-promotes-models"]
    assert [waiver.id for waiver in found.waivers] == ["W-1"]
    assert (
        "# REVIEW: it is declared at topology.yaml:0, and was observed to work:\n  #   dev-1 10.10.0.10"
        in made.topology
    )


def test_what_listens_and_is_declared_nowhere_is_a_service_for_review() -> None:
    estate = Estate()
    see(estate, "10.30.0.10", PortSet.of([22, 443]), State.FILTERED, inside=State.OPEN, inside_by="prod-2")
    see(estate, "10.20.0.10", PortSet.of([2375]), State.FILTERED, arrival=Arrival.SEEN, bound=True)
    see(estate, "10.15.0.10", PortSet.of([3389]), State.OPEN, inside=None)
    made = draft.drafted(snapshot(estate))
    found = loaded(made)
    services = {name: environment.services for name, environment in found.environments.items()}
    assert str(services["prod"]["seen-10-30-0-10"].ports).split()[0] == "tcp/22,443"
    assert "tcp/2375" in str(services["staging"]["seen-10-20-0-10"].ports)
    assert services["test"]["seen-10-15-0-10"].hosts == ("10.15.0.10",)
    assert (
        "# REVIEW: nobody declared this service.\n      #   tcp/22,443 answered prod-2 inside, 2026-11-23 "
        in made.topology
    )
    assert "tcp/2375 has a socket on staging-1" in made.topology
    assert "tcp/3389 answered dev-1" in made.topology
    assert {
        str(path.ports) for path in found.paths if path.name.startswith("review-") and "test" in path.destination.text
    } == {"tcp/3389"}
    assert Result.FAIL not in under(estate, found)


def test_closed_ports_one_way_and_icmp_are_paths_as_well() -> None:
    estate = Estate(leak=False)
    see(estate, "10.30.0.10", PortSet.of([22]), State.CLOSED, arrival=Arrival.SEEN)
    see(estate, "10.30.0.10", PortSet.of([53]), State.FILTERED, Protocol.UDP, arrival=Arrival.SEEN, answered=True)
    see(estate, "10.30.0.10", ICMP_CELL, State.OPEN, Protocol.ICMP, reason=Reason.ECHO_REPLY)
    found = loaded(draft.drafted(snapshot(estate)))
    new = [path for path in found.paths if path.name.startswith("review-")]
    assert [(path.source.text, path.destination.text, str(path.ports)) for path in new] == [
        (f"{name}.{name}-1", "prod.10.30.0.10/32", "tcp/22 udp/53 icmp") for name in ("dev", "test", "staging")
    ]
    assert len({path.name for path in new}) == 3
    assert under(estate, found) == {Result.PASS}


def test_a_path_to_a_service_on_several_hosts_names_the_host_that_was_seen() -> None:
    estate = Estate(leak=False)
    prod = estate.topology.environments["prod"]
    wide = replace(prod.services["model-registry"], hosts=("10.30.0.21", "10.30.0.22"))
    environments = {
        **estate.topology.environments,
        "prod": replace(prod, services={**prod.services, "model-registry": wide}),
    }
    estate.topology = replace(estate.topology, environments=environments, paths=())
    estate.plan = build_plan(estate.topology, {}, {})
    found = loaded(draft.drafted(snapshot(estate)))
    assert [path.destination.text for path in found.paths] == ["prod.10.30.0.21/32"]


def test_what_arrives_where_no_packet_may_is_for_review_too() -> None:
    estate = Estate(leak=False)
    prod = replace(estate.topology.environments["prod"], require=Require.NO_PACKET)
    estate.topology = replace(estate.topology, environments={**estate.topology.environments, "prod": prod})
    see(estate, "10.30.0.10", PortSet.of([22]), State.FILTERED, arrival=Arrival.SEEN)
    found = loaded(draft.drafted(snapshot(estate)))
    assert {path.destination.text for path in found.paths if path.name.startswith("review-")} == {"prod.10.30.0.10/32"}


def test_what_is_stale_is_in_no_draft_and_the_header_says_so() -> None:
    estate = Estate()
    late = replace(snapshot(estate), at=NOW.timestamp())
    cells = tuple(replace(cell, result=Result.STALE) for cell in late.cells)
    made = draft.drafted(replace(late, cells=cells))
    assert [path.name for path in loaded(made).paths] == ["ci-promotes-models"]
    header = made.topology.partition("version:")[0]
    required = sum(cell.count for cell in cells if cell.required)
    assert f"#   - {required:,} of {required:,} required cells, which are not proven:" in header


def test_the_header_says_what_could_not_be_seen() -> None:
    estate = Estate(undecided=True)
    header = draft.drafted(snapshot(estate)).topology.partition("\nversion:")[0]
    assert all(line.startswith("#") for line in header.splitlines() if line)
    for said in (
        "who does use a path",
        "hosts that no service and no agent",
        " required cells, which are not proven:",
        "  test -> prod: 2 of ",
        "neither a service's nor the catalogue's",
        "SCTP, ",
    ):
        assert said in header
    environments = estate.topology.environments
    web = replace(environments["staging"].services["web"], sweep=False)
    estate.topology = replace(
        estate.topology,
        environments={
            **environments,
            "test": replace(environments["test"], agents={}),
            "staging": replace(environments["staging"], services={"web": web}),
        },
        probing=Probing(sweep_ports=PortSpec(tcp=PortSet.parse("1-100"))),
    )
    header = draft.drafted(snapshot(estate)).topology.partition("\nversion:")[0]
    assert "anything that test sends: it has no agent" in header
    assert "other ports of staging.web: it is not swept" in header
    assert "the topology in force has no sweep" not in header


def test_names_that_are_taken_are_not_taken_twice() -> None:
    declared = topology()
    prod = declared.environments["prod"]
    named = replace(
        prod,
        services={**prod.services, "seen-10-30-0-10": replace(prod.services["model-registry"], name="seen-10-30-0-10")},
    )
    estate = Estate(leak=False)
    estate.topology = replace(declared, environments={**declared.environments, "prod": named})
    estate.plan = build_plan(estate.topology, {}, {})
    see(estate, "10.30.0.10", PortSet.of([22]), State.FILTERED, inside=State.OPEN)
    assert "seen-10-30-0-10-2" in loaded(draft.drafted(snapshot(estate))).environments["prod"].services


@pytest.mark.parametrize("file", ["x\ny: {", "\x1b[2Jt.yaml"])
def test_what_others_called_their_file_ends_no_comment(file: str) -> None:
    estate = Estate()
    estate.topology = replace(estate.topology, file=file)
    made = draft.drafted(snapshot(estate))
    assert len(loaded(made).paths) == 2
    assert all(line.isprintable() for line in made.topology.splitlines())


def test_it_is_answered_over_http(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    response = run(draft.answered(None, World(store).estate))  # type: ignore[arg-type]
    store.close()
    assert isinstance(response.body, bytes)
    body = json.loads(response.body)
    assert set(body) == {"topology", "review", "under", "made"}
    assert list(parse_topology(body["topology"].encode()).environments) == ["dev", "test", "prod"]
