"""Nothing is rounded away."""

from dataclasses import replace
from ipaddress import ip_network

from reachability.compare import Cell, compare
from reachability.coverage import Coverage, coverage, not_tested, total, untested
from reachability.plan import build_plan
from reachability.ports import PortSet
from reachability.vocabulary import Declared, Protocol, Result
from tests.support.sample import NOW, observe, topology


def sample(*, undecided: bool = False) -> tuple[Cell, ...]:
    declared = topology()
    plan = build_plan(declared, {}, {})
    return compare(declared, plan, observe(plan, undecided=undecided), NOW)


def test_all_proven() -> None:
    entry = total(sample())
    assert entry.ratio == 1.0
    assert entry.results[Result.FAIL] == 1
    assert entry.required == entry.proven
    assert entry.no_packet
    assert entry.no_session


def test_what_is_unproven_is_counted_by_its_pair() -> None:
    entries = {(e.source, e.destination): e for e in coverage(sample(undecided=True))}
    assert len(entries) == 12
    assert entries["test", "prod"].unproven == {Result.INCONCLUSIVE: 2}
    assert entries["test", "prod"].required - entries["test", "prod"].proven == 2
    assert {pair for pair, entry in entries.items() if entry.ratio < 1.0} == {("test", "prod")}


def test_one_cell_of_millions_keeps_it_below_all() -> None:
    entry = Coverage(source="a", destination="b", required=10**9, proven=10**9 - 1)
    assert entry.ratio < 1.0
    assert Coverage(source="a", destination="b").ratio == 0.0, "where there is nothing to test, nothing is proven"


def test_beyond_proof_is_apart() -> None:
    cell = next(c for c in sample() if c.key.protocol is Protocol.UDP)
    silent = replace(cell, required=False, result=Result.INCONCLUSIVE, grade=None, ports=PortSet.parse("1-100"))
    entry = total([silent])
    assert (entry.beyond_proof, entry.required, entry.ratio, entry.cells) == (100, 0, 1.0, 100)


def test_declared_paths_are_counted_once() -> None:
    cells = [c for c in sample() if c.declared is Declared.REQUIRED]
    assert total(cells).paths == 1


def test_a_pair_without_a_cell_is_untested_where_somebody_could_have_tried_it() -> None:
    declared = topology()
    cells = sample()
    assert untested(declared, cells) == ()
    assert untested(declared, [c for c in cells if c.pair != ("dev", "prod")]) == (("dev", "prod"),)
    prod = replace(declared.environments["prod"], agents={})
    nobody = replace(declared, environments={**declared.environments, "prod": prod})
    names = ("dev", "test", "staging", "prod")
    pairs = [(source, destination) for source in names for destination in names if source != destination]
    assert untested(nobody, []) == tuple(pair for pair in pairs if pair[0] != "prod"), "prod has no agent to try any"


def test_the_protocols_that_no_probe_tries_are_said() -> None:
    declared = topology()
    assert {"sctp", "gre", "igmp"} <= set(not_tested(declared))
    six = {
        name: replace(found, networks=(ip_network(f"fd00:{number}::/64"),))
        for number, (name, found) in enumerate(declared.environments.items())
    }
    assert set(not_tested(declared)) - set(not_tested(replace(declared, environments=six))) == {"igmp"}, "IPv4's alone"
