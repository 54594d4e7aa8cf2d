"""When an agent says that a stop has done its work: not when it came, but when nothing can send any more."""

from __future__ import annotations

import pytest

from agent.standstill import Standstill
from tests.support.desk import arm, go
from wire.messages import Ack, Close, Plan, Stop
from wire.signing import AnyDown, SignedOrder

STOP = Stop(reason="maintenance")


class Agent:
    """`child`: whether there is a packet child; `told`: what the coordinator was told at once."""

    def __init__(self) -> None:
        self.child, self.told, self.sequence = False, list[int](), 100
        self.still = Standstill(lambda: not self.child, lambda: self.told.append(self.still.stopped))

    def hears(self, body: AnyDown) -> int:
        self.sequence += 1
        self.still.heard(SignedOrder(agent="dev-1", sequence=self.sequence, issued=0.0, expires=60.0, body=body))
        return self.sequence

    def child_ends(self) -> None:
        self.child = False
        self.still.look()


def test_it_is_said_when_the_packet_child_has_ended() -> None:
    agent = Agent()
    assert agent.still.stopped == 0
    agent.child = True
    sequence = agent.hears(STOP)
    assert (agent.still.stopped, agent.told) == (0, []), "it still sends"
    agent.child_ends()
    assert (agent.still.stopped, agent.told) == (sequence, [sequence])


def test_without_one_it_is_said_at_once() -> None:
    agent = Agent()
    sequence = agent.hears(STOP)
    assert (agent.still.stopped, agent.told) == (sequence, [sequence])


def test_a_child_that_ends_by_itself_confirms_nothing() -> None:
    agent = Agent()
    agent.child = True
    agent.child_ends()
    assert (agent.still.stopped, agent.told) == (0, [])


def test_a_stop_that_is_repeated_is_confirmed_with_the_next_status() -> None:
    """It is repeated every five seconds for as long as it lasts: nobody needs to hear as often that nothing has changed."""
    agent = Agent()
    first = agent.hears(STOP)
    last = [agent.hears(STOP) for _ in range(3)][-1]
    assert (agent.still.stopped, agent.told) == (last, [first])


@pytest.mark.parametrize("order", [Plan(digest="d"), arm(), go()], ids=["plan", "arm", "go"])
def test_one_after_anything_that_lets_it_send_is_told_at_once(order: AnyDown) -> None:
    agent = Agent()
    first = agent.hears(STOP)
    agent.hears(order)
    second = agent.hears(STOP)
    assert agent.told == [first, second]


@pytest.mark.parametrize("order", [Ack(spool="s", sequence=1), Close(round="r")], ids=["ack", "close"])
def test_what_lets_nothing_be_sent_changes_nothing(order: AnyDown) -> None:
    agent = Agent()
    first = agent.hears(STOP)
    agent.hears(order)
    agent.hears(STOP)
    assert agent.told == [first]


def test_one_for_another_reason_is_told_at_once() -> None:
    agent = Agent()
    first = agent.hears(Stop(reason="a blackout"))
    second = agent.hears(STOP)
    assert agent.told == [first, second]
