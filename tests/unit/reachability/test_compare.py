"""Declared against observed: the table of docs/verdict.md, and that every cell of the plan is in exactly one entry."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reachability.compare import Cell, Grade, compare, grade_of, in_scope, key_of, result_of
from reachability.matrix import CellKey, Judged, Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.topology import PortSpec, Probing, Selector, Topology, Waiver
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Arrival, Declared, Proof, Protocol, Reachability, Require, Result, Schedule, State
from tests.support.sample import NOW, judged, observe, topology
from tests.support.work import calls

R, D = Reachability, Declared
TCP = Evidence(protocol=Protocol.TCP, state=State.OPEN)
PASS, FAIL, OPEN_END = Result.PASS, Result.FAIL, Result.INCONCLUSIVE


@pytest.mark.parametrize(
    ("found", "no_session", "no_packet"),
    [
        (R.BLOCKED, PASS, PASS),
        (R.BLOCKED_AT_HOST, PASS, FAIL),
        (R.NO_SESSION, PASS, OPEN_END),
        (R.REACHABLE, FAIL, FAIL),
        (R.ONE_WAY, FAIL, FAIL),
        (R.UNKNOWN, OPEN_END, OPEN_END),
    ],
)
def test_denied(found: Reachability, no_session: Result, no_packet: Result) -> None:
    verdict = Verdict(reachability=found)
    assert result_of(D.DENIED, Require.NO_SESSION, TCP, verdict) is no_session
    assert result_of(D.DENIED, Require.NO_PACKET, TCP, verdict) is no_packet


@pytest.mark.parametrize("found", list(R))
def test_allowed_passes_whatever_was_concluded(found: Reachability) -> None:
    assert result_of(D.ALLOWED, Require.NO_PACKET, TCP, Verdict(reachability=found)) is PASS


@pytest.mark.parametrize(
    ("evidence", "found", "result"),
    [
        (TCP, R.REACHABLE, PASS),
        (replace(TCP, state=State.CLOSED), R.REACHABLE, FAIL),
        (TCP, R.ONE_WAY, FAIL),
        (TCP, R.BLOCKED, FAIL),
        (TCP, R.BLOCKED_AT_HOST, FAIL),
        (TCP, R.NO_SESSION, FAIL),
        (TCP, R.UNKNOWN, OPEN_END),
        (Evidence(protocol=Protocol.UDP, arrival=Arrival.SEEN, bound=True), R.ONE_WAY, PASS),
        (Evidence(protocol=Protocol.UDP, arrival=Arrival.SEEN, bound=False), R.ONE_WAY, FAIL),
        (Evidence(protocol=Protocol.UDP, state=State.OPEN), R.REACHABLE, PASS),
        (Evidence(protocol=Protocol.UDP, state=State.CLOSED), R.REACHABLE, FAIL),
    ],
)
def test_required(evidence: Evidence, found: Reachability, result: Result) -> None:
    assert result_of(D.REQUIRED, Require.NO_SESSION, evidence, Verdict(reachability=found)) is result


def test_grades() -> None:
    assert grade_of(D.DENIED, PASS, R.BLOCKED) is Grade.NO_PACKET
    assert grade_of(D.DENIED, PASS, R.BLOCKED_AT_HOST) is Grade.NO_SESSION
    assert grade_of(D.DENIED, FAIL, R.BLOCKED_AT_HOST) is None
    assert grade_of(D.REQUIRED, PASS, R.REACHABLE) is None


def results(cells: Iterable[Cell], **wanted: str | Protocol) -> set[Result]:
    return {cell.result for cell in cells if all(getattr(cell.key, name) == value for name, value in wanted.items())}


def test_the_sample_has_one_leak() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    cells = compare(declared, plan, observe(plan), NOW)
    failing = [cell for cell in cells if cell.result is FAIL]
    assert [(c.key.agent, c.key.address, str(c.ports), c.service) for c in failing] == [
        ("dev-1", "10.30.0.21", "5000", "model-registry")
    ]
    required = [cell for cell in cells if cell.declared is D.REQUIRED]
    assert [(c.key.agent, str(c.ports), c.result, c.path.name) for c in required if c.path] == [
        ("staging-1", "5000", PASS, "ci-promotes-models")
    ]


def test_nothing_observed_is_not_run() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    assert results(compare(declared, plan, Matrix(), NOW)) == {Result.NOT_RUN}


def test_what_nobody_vouches_for_any_more_is_not_run_but_a_breach_stays_one() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    alone = tuple(replace(target, insides=()) for target in plan)
    cells = [
        c
        for c in compare(declared, alone, observe(plan), NOW)
        if c.key.agent == "dev-1" and c.key.address == "10.30.0.21"
    ]
    by_result = {result: [c for c in cells if c.result is result] for result in (FAIL, Result.NOT_RUN)}
    assert [str(cell.ports) for cell in by_result[FAIL]] == ["5000"]
    assert by_result[Result.NOT_RUN]
    assert not any(cell.judged for cell in by_result[Result.NOT_RUN])


def test_a_run_counts_alone() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    matrix = observe(plan)
    assert Result.NOT_RUN not in results(compare(declared, plan, matrix, NOW, run="run-1"))
    assert results(compare(declared, plan, matrix, NOW, run="run-2")) == {Result.NOT_RUN}


def test_what_a_name_leads_to_outside_the_networks_is_unknown_whatever_was_observed_there() -> None:
    declared = topology()
    plan = tuple(replace(target, elsewhere=target.address == "10.30.0.21") for target in build_plan(declared, {}, {}))
    later = NOW + timedelta(days=1)
    for run, at in ((None, NOW), (None, later), ("run-1", later), ("run-2", later)):
        found = [c for c in compare(declared, plan, observe(plan), at, run=run) if c.key.address == "10.30.0.21"]
        assert {(c.result, c.judged.verdict.reason) for c in found if c.judged} == {(OPEN_END, "resolved-elsewhere")}
        assert all(cell.judged is not None and cell.judged.verdict.row == 18 for cell in found)
        assert sum(cell.count for cell in found if cell.required) > 0


def test_three_periods_make_it_stale_but_not_within_its_run() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    matrix = observe(plan, at=NOW.timestamp())
    assert Result.STALE not in results(compare(declared, plan, matrix, NOW + timedelta(seconds=180)))
    later = NOW + timedelta(seconds=181)
    assert results(compare(declared, plan, matrix, later)) == {Result.STALE}
    assert Result.STALE not in results(compare(declared, plan, matrix, later, run="run-1"))


def test_a_sweep_is_stale_by_its_own_period() -> None:
    probing = Probing(every_s=60, sweep_every_s=3600, sweep_ports=PortSpec(tcp=PortSet.parse("1-1000")))
    declared = topology(probing=probing)
    plan = build_plan(declared, {}, {})
    matrix = observe(plan, at=NOW.timestamp())
    for target in plan:
        if target.sweep:
            row = judged(Evidence(protocol=Protocol.TCP), at=NOW.timestamp(), schedule=Schedule.SWEEP)
            matrix.update(key_of(target), target.sweep - target.cycle, row)
    swept = [c for c in compare(declared, plan, matrix, NOW + timedelta(hours=3)) if c.schedule == "sweep"]
    assert {c.result for c in swept} == {OPEN_END}
    swept = [c for c in compare(declared, plan, matrix, NOW + timedelta(hours=3, seconds=1)) if c.schedule == "sweep"]
    assert {c.result for c in swept} == {Result.STALE}


def test_a_waiver_turns_a_fail_until_it_expires() -> None:
    waiver = Waiver(
        "W-12",
        Selector("dev", environment="dev"),
        Selector("prod.model-registry", environment="prod", service="model-registry"),
        None,
        "data-eng",
        "migration",
        NOW + timedelta(days=1),
    )
    declared = topology(waivers=(waiver,))
    plan = build_plan(declared, {}, {})
    leak = [c for c in compare(declared, plan, observe(plan), NOW) if c.waiver]
    assert [(c.result, c.waiver.id) for c in leak if c.waiver] == [(Result.WAIVED, "W-12")]
    after = NOW + timedelta(days=1)
    cells = compare(declared, plan, observe(plan, at=after.timestamp()), after)
    assert sum(c.count for c in cells if c.result is FAIL) == 1
    closed = compare(declared, plan, observe(plan, leak=False), NOW)
    assert {c.result for c in closed if c.waiver} == {PASS}


def test_scope_of_a_run() -> None:
    probing = Probing(sweep_ports=PortSpec(tcp=PortSet.parse("1-1000"), udp=PortSet.parse("1-300")))
    plan = build_plan(topology(probing=probing), {}, {})
    cycle = in_scope(plan, sweep=False)
    assert not any(target.sweep for target in cycle)
    assert all(target.required == target.required & target.cycle for target in cycle)
    assert in_scope(plan, sweep=True) == plan
    narrow = in_scope(plan, sweep=True, source="dev", destination="prod")
    assert {(t.source_environment, t.destination) for t in narrow} == {("dev", "prod")}
    swept = replace(plan[0], cycle=PortSet(), sweep=PortSet.parse("1-1000"))
    assert in_scope([swept], sweep=False) == (), "a run without a sweep waits for no port of it"
    assert in_scope([swept], sweep=True) == (swept,)


PORTS = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 30)), max_size=4).map(
    lambda spans: PortSet.from_ranges((low, low + more) for low, more in spans)
)


@settings(max_examples=60)
@given(cycle=PORTS, sweep=PORTS, required=PORTS, rows=st.lists(st.tuples(PORTS, st.sampled_from(R)), max_size=5))
def test_the_cells_partition_the_plan(
    cycle: PortSet, sweep: PortSet, required: PortSet, rows: list[tuple[PortSet, Reachability]]
) -> None:
    declared = topology()
    target = PlanTarget(
        agent="staging-1",
        source_environment="staging",
        source_address="10.20.0.10",
        destination="prod",
        address="10.30.0.21",
        protocol=Protocol.TCP,
        cycle=cycle,
        sweep=sweep,
        required=required & (cycle | sweep),
        services=(("model-registry", PortSet.parse("40-60")),),
    )
    matrix = Matrix()
    for index, (ports, found) in enumerate(rows):
        if ports:
            verdict = Verdict(reachability=found)
            one = Judged(evidence=TCP, verdict=verdict, round=str(index), observed_at=NOW.timestamp())
            matrix.update(key_of(target), ports, one)
    cells = compare(declared, (target,), matrix, NOW)
    assert all(cell.ports for cell in cells)
    told = [(cell, cell.ports) for cell in cells]
    assert sum(cell.count for cell in cells) == len(cycle | sweep)
    assert PortSet.from_ranges(span for _, ports in told for span in ports.ranges) == cycle | sweep
    assert {p for cell, ports in told if cell.required for p in ports} == set(required & (cycle | sweep))
    observed = {port for ports, _ in rows for port in ports}
    assert {p for cell, ports in told if cell.judged for p in ports} == observed & set(cycle | sweep)


def test_an_icmp_target_has_one_cell() -> None:
    declared = topology()
    plan = tuple(target for target in build_plan(declared, {}, {}) if target.protocol is Protocol.ICMP)
    cells = compare(declared, plan, observe(plan), NOW)
    assert len(cells) == len(plan)
    assert {(cell.ports, cell.count) for cell in cells} == {(ICMP_CELL, 1)}


def test_a_whole_sweep_is_a_handful_of_rows() -> None:
    probing = Probing(sweep_ports=PortSpec(tcp=ALL_PORTS, udp=ALL_PORTS))
    declared = topology(probing=probing)
    plan = tuple(
        replace(target, address=f"10.30.1.{host}", witness="prod-1")
        for target in build_plan(declared, {}, {})
        if target.agent == "dev-1" and target.destination == "prod" and not target.witness
        for host in range(16)
    )
    matrix = Matrix()
    for target in plan:
        blocked = Verdict(reachability=R.BLOCKED, proof=Proof.WITNESSED, row=15)
        one = Judged(evidence=TCP, verdict=blocked, round="r", observed_at=NOW.timestamp())
        matrix.update(key_of(target), ICMP_CELL if target.protocol is Protocol.ICMP else ALL_PORTS, one)
    found: list[tuple[Cell, ...]] = []
    work = calls(lambda: found.append(compare(declared, plan, matrix, NOW)))
    (cells,) = found
    assert sum(cell.count for cell in cells) == 16 * (2 * 65535 + 1)
    assert len(cells) < 16 * 8
    assert work < 20_000, "in step with the ranges, not with the two million ports"


def test_an_unknown_source_address_has_its_own_key() -> None:
    declared = replace_agent_addresses(topology())
    plan = build_plan(declared, {}, {})
    cells = compare(declared, plan, Matrix(), datetime.now(UTC))
    assert "" in {cell.key.source_address for cell in cells if cell.key.agent == "dev-1"}
    assert isinstance(cells[0].key, CellKey)


def replace_agent_addresses(declared: Topology) -> Topology:
    dev = declared.environments["dev"]
    agents = {name: replace(agent, addresses=()) for name, agent in dev.agents.items()}
    return replace(declared, environments={**declared.environments, "dev": replace(dev, agents=agents)})
