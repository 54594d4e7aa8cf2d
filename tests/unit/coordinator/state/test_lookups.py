"""A name is probed wherever any agent sees it, and what it had before is not left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.state.estate import Estate
from coordinator.state.lookups import MOST_ADDRESSES, Lookups
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.observation import Lookup
from reachability.vocabulary import Protocol, Result, State
from tests.support.coordinator import NOW, Coordinator
from tests.support.sample import evidence, judged
from tests.support.virtual import run

DB = "db.prod.internal"
OLD, NEW, ASTRAY = "10.30.0.21", "10.30.0.22", "192.0.2.7"
THREE = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}}
    services: {db: {hosts: [db.prod.internal], ports: [tcp/5432]}}
probing: {every: 60s, confirm: 1}
"""


@pytest.fixture
def estate(world: Coordinator) -> Estate:
    world.estate.take_topology(parse_topology(THREE))
    return world.estate


def says(estate: Estate, agent: str, *addresses: str, problem: str = "") -> None:
    estate.take_lookups(agent, [Lookup(name=DB, addresses=addresses, problem=problem)])


def probed(estate: Estate, agent: str = "dev-1") -> set[str]:
    """Where the agent tries the name."""
    return {target.address for target in estate.plan if target.agent == agent and DB in target.names}


def observe(estate: Estate, address: str, state: State, at: float, *agents: str) -> None:
    for target in estate.plan:
        if target.address == address and target.agent in (agents or ("dev-1", "test-1")) and target.cycle:
            found = judged(evidence(target, state), f"R{at}", run="", at=at)
            estate.matrix.update(key_of(target), target.cycle, found)
    run(estate.review())


def test_everybody_probes_it_where_anybody_sees_it(estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    says(estate, "prod-1", NEW)
    says(estate, "test-1", problem="no such name")
    assert probed(estate, "dev-1") == probed(estate, "test-1") == {OLD, NEW}


def test_what_lies_outside_the_networks_is_unknown_and_required(estate: Estate) -> None:
    says(estate, "test-1", ASTRAY)
    cells = [cell for cell in estate.cells() if cell.key.address == ASTRAY]
    assert {(cell.result, cell.required) for cell in cells if cell.key.protocol is Protocol.TCP} == {
        (Result.INCONCLUSIVE, True)
    }
    assert {cell.judged.verdict.reason for cell in cells if cell.judged} == {"resolved-elsewhere"}


def test_a_resolver_that_is_away_takes_no_cell_away(world: Coordinator, estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    for minute in range(30):
        world.now = NOW + 60 * minute
        says(estate, "dev-1", problem="no answer within 3 s")
    assert probed(estate) == {OLD}
    assert estate.lookups("dev-1")[DB].problem, "what the agent said last is shown as it was"


def test_a_name_that_rotates_leaves_no_cell_behind(world: Coordinator, estate: Estate) -> None:
    for turn in range(8):
        world.now = NOW + 60 * turn
        says(estate, "dev-1", (OLD, NEW)[turn % 2])
        observe(estate, NEW, State.FILTERED, world.now)
        assert probed(estate) >= {OLD, NEW} or turn == 0


def test_a_name_that_moved_is_probed_where_it_was_until_everybody_has_tried_where_it_is(
    world: Coordinator, estate: Estate
) -> None:
    says(estate, "dev-1", OLD)
    for minute in range(4, 20):
        world.now = NOW + 60 * minute
        says(estate, "dev-1", NEW)
        assert probed(estate) == {OLD, NEW}
    observe(estate, NEW, State.FILTERED, world.now, "dev-1")
    says(estate, "dev-1", NEW)
    assert probed(estate) == {OLD, NEW}, "test-1 has not tried it"
    observe(estate, NEW, State.FILTERED, world.now)
    says(estate, "dev-1", NEW)
    assert probed(estate) == {NEW}


def test_it_is_probed_where_it_was_while_the_hole_is_open_there_and_the_finding_ends_in_words(
    world: Coordinator, estate: Estate
) -> None:
    says(estate, "dev-1", OLD)
    observe(estate, "10.30.0.10", State.FILTERED, NOW)
    observe(estate, OLD, State.OPEN, NOW)
    assert [finding.live for finding in estate.book.findings]
    for minute in range(4, 20):
        world.now = NOW + 60 * minute
        says(estate, "dev-1", NEW)
        observe(estate, NEW, State.FILTERED, world.now)
        observe(estate, OLD, State.OPEN, world.now)
    assert probed(estate) == {OLD, NEW}, "moving a name closes nothing"
    world.now += 60
    for target in estate.plan:
        if target.address == OLD and target.cycle:
            silent = evidence(target, State.FILTERED, control=False)
            estate.matrix.update(key_of(target), target.cycle, judged(silent, "S", run="", at=world.now))
    says(estate, "dev-1", NEW)
    assert probed(estate) == {NEW}
    events = run(estate.review())
    assert {event.what for event in events} == {"resolved"}
    assert all("has another address now, where it was tested" in event.text for event in events)


def test_agents_that_disagree_say_who_saw_what(estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    says(estate, "prod-1", OLD)
    assert {state.names_apart for state in estate.agents.values()} == {()}
    says(estate, "test-1", NEW)
    assert {name: state.names_apart for name, state in estate.agents.items()} == {
        "dev-1": (f"{DB} is {OLD} (test-1: {NEW})",),
        "prod-1": (f"{DB} is {OLD} (test-1: {NEW})",),
        "test-1": (f"{DB} is {NEW} (dev-1, prod-1: {OLD})",),
    }
    says(estate, "test-1", problem="no such name")
    assert estate.agents["test-1"].names_apart == (f"{DB} is not known (dev-1, prod-1: {OLD})",)
    says(estate, "test-1", OLD)
    assert {state.names_apart for state in estate.agents.values()} == {()}


def test_what_the_services_own_host_has_in_its_hosts_file_is_no_disagreement(estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    says(estate, "prod-1", "127.0.1.1", OLD)
    says(estate, "test-1", "127.0.1.1")
    assert {state.names_apart for state in estate.agents.values()} == {()}
    assert probed(estate) == {OLD}


def test_of_many_names_on_which_they_disagree_the_first_are_told(world: Coordinator) -> None:
    lookups = Lookups(world.store, NOW)
    names = [f"n{number}.prod.internal" for number in range(10)]
    for agent, address in (("dev-1", OLD), ("test-1", NEW)):
        lookups.take(agent, names, [Lookup(name=name, addresses=(address,)) for name in names], NOW)
    words = lookups.apart(["dev-1", "test-1", "prod-1"])
    assert [len(words[agent]) for agent in ("dev-1", "test-1", "prod-1")] == [4, 4, 0]
    assert words["dev-1"][-1] == "7 more names"


def test_the_union_outlives_a_restart(world: Coordinator, estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    says(estate, "test-1", NEW)
    says(estate, "test-1", problem="no such name")
    again = Estate(parse_topology(THREE), world.store, lambda: world.now)
    assert probed(again) == {OLD, NEW}


def test_a_store_of_before_has_the_union_of_what_agents_saw(world: Coordinator) -> None:
    world.store.put_lookups("dev-1", [Lookup(name=DB, addresses=(OLD,))])
    world.store.put_lookups("test-1", [Lookup(name=DB, addresses=(NEW,))])
    assert Lookups(world.store, NOW).leads_to() == {DB: (OLD, NEW)}


def test_a_clock_that_is_set_makes_no_address_old(world: Coordinator, estate: Estate) -> None:
    says(estate, "dev-1", OLD)
    observe(estate, OLD, State.FILTERED, NOW)
    world.now += 86400
    estate.clock_stepped(86400)
    says(estate, "test-1", NEW)
    observe(estate, NEW, State.FILTERED, world.now)
    says(estate, "test-1", NEW)
    assert probed(estate) == {OLD, NEW}


def test_a_flood_of_addresses_of_one_name_is_bounded(world: Coordinator) -> None:
    lookups = Lookups(world.store, NOW)
    many = [f"10.30.{number // 250}.{number % 250 + 1}" for number in range(MOST_ADDRESSES + 40)]
    for number, address in enumerate(many):
        lookups.take("dev-1", [DB], [Lookup(name=DB, addresses=(address,))], NOW + number)
    assert lookups.leads_to()[DB] == tuple(many[40:])


def test_what_does_not_change_is_not_written_again(world: Coordinator) -> None:
    lookups = Lookups(world.store, NOW)
    assert not lookups.write()
    for _ in range(2):
        lookups.take("dev-1", [DB], [Lookup(name=DB, addresses=(OLD,))], NOW)
    assert lookups.write()
    lookups.take("dev-1", [DB], [Lookup(name=DB, addresses=(OLD,))], NOW + 60)
    assert not lookups.write()


def test_a_ttl_that_counts_down_is_kept_and_is_no_news_to_the_store(world: Coordinator) -> None:
    lookups = Lookups(world.store, NOW)
    seen = Lookup(name=DB, addresses=(OLD,), origin="dns", ttl_s=300)
    lookups.take("dev-1", [DB], [seen], NOW)
    assert lookups.write()
    lookups.take("dev-1", [DB], [replace(seen, ttl_s=60)], NOW)
    assert lookups.of("dev-1")[DB].ttl_s == 60
    assert not lookups.write()
    lookups.take("dev-1", [DB], [replace(seen, origin="hosts-file")], NOW)
    assert lookups.write()
