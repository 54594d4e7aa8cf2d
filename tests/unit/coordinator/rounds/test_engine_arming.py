"""How long a round waits for what it asks before its source goes: the names, and the witnesses."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.store import Store
from reachability.vocabulary import Result
from tests.support.rounds import TOPOLOGY
from tests.support.slow_agents import NEVER, TWO_WITNESSES, Slow, about, at
from wire.messages import Arm, Close, Down, Go, Resolve, Resolved

NAMED = TOPOLOGY.replace(
    b"{prod-1: {addresses: [10.30.0.10]}}}",
    b"{prod-1: {addresses: [10.30.0.10]}}, services: {db: {hosts: [db.prod.internal], ports: [tcp/5432]}}}",
)


@pytest.fixture
def world(store: Store) -> Slow:
    return Slow(store)


@pytest.mark.parametrize("takes_s", [0.0, 0.7, 4.9])
def test_the_source_goes_as_soon_as_all_are_armed(world: Slow, takes_s: float) -> None:
    world.takes["prod-1", Arm] = takes_s
    world.cycle()
    assert world.at(Go) == [about(takes_s)]
    assert world.results() == {Result.PASS}


def is_warm(world: Slow) -> None:
    """prod-1's packet child is there: the next order is answered at once."""
    world.takes["prod-1", Arm] = 0.0


@pytest.mark.parametrize("takes_s", [5.1, 6.5, 19.9])
def test_one_whose_packet_child_starts_slowly_is_waited_for_and_the_round_begun_again(
    world: Slow, takes_s: float
) -> None:
    world.takes["prod-1", Arm] = takes_s
    at(world, 1.0, lambda: is_warm(world))
    world.cycle()
    first, *_, again = [message.round for _, message in world.sent if isinstance(message, Arm)]
    (go,) = [message for _, message in world.sent if isinstance(message, Go)]
    closed = [message.round for _, message in world.sent if isinstance(message, Close)]
    assert world.at(Go) == [about(takes_s)]
    assert first != again == go.round, "what was asked from inside so long ago is no control of this"
    assert first in closed
    assert again in closed
    assert world.results() == {Result.PASS}


@pytest.mark.parametrize("takes_s", [25.1, NEVER])
def test_after_its_time_it_goes_without_those_that_are_missing(world: Slow, takes_s: float) -> None:
    world.takes["prod-1", Arm] = takes_s
    world.takes["dev-1", Go] = 3.0
    world.cycle()
    assert world.at(Go) == [about(25.0)]
    assert world.results() == {Result.INCONCLUSIVE}, "who is armed after the source had gone is no witness"


def test_who_was_waited_for_in_vain_is_given_five_seconds_until_it_is_ready_again(world: Slow) -> None:
    world.takes["prod-1", Arm] = NEVER
    world.cycle()
    took = []
    for takes_s in (NEVER, 6.0, 4.9):
        world.takes["prod-1", Arm] = takes_s
        begun = world.at(Arm)
        world.cycle()
        took.append(world.at(Go)[-1] - world.at(Arm)[len(begun)])
    assert took == [about(5.0), about(5.0), about(4.9)]
    world.takes["prod-1", Arm] = 8.0
    at(world, 1.0, lambda: is_warm(world))
    world.cycle()
    assert world.at(Go)[-1] == about(8.0)


def test_who_has_gone_is_not_waited_for(world: Slow) -> None:
    world.takes["prod-1", Arm] = NEVER
    at(world, 6.0, lambda: world.online("prod-1", online=False))
    world.cycle()
    assert world.at(Go) == [pytest.approx(6.0, abs=0.51)]


def test_one_that_is_missing_takes_nothing_from_the_others(store: Store) -> None:
    world = Slow(store, TWO_WITNESSES)
    world.takes["prod-2", Arm] = NEVER
    world.cycle()
    assert (world.results("10.30.0.10"), world.results("10.30.0.11")) == ({Result.PASS}, {Result.INCONCLUSIVE})


@pytest.mark.parametrize(("takes_s", "begins_s"), [(0.0, 0.0), (7.9, 7.9), (8.1, 8.0), (NEVER, 8.0)])
def test_a_cycle_waits_eight_seconds_for_what_names_lead_to(store: Store, takes_s: float, begins_s: float) -> None:
    world = Slow(store, NAMED)
    world.takes["dev-1", Go] = NEVER

    def answers(message: Down) -> None:
        if isinstance(message, Resolve) and takes_s < NEVER:
            resolved = Resolved(id=message.id, lookups=())
            asyncio.get_running_loop().call_later(takes_s, world.engine.answer, "dev-1", resolved)

    world.on_message = answers
    world.cycle()
    assert world.at(Arm) == [about(begins_s)]
