"""How many entries of connection tables an agent may hold at a time."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from probes.packets.flow_budget import CLOSED_S, UNANSWERED_S, FlowBound
from reachability.vocabulary import Protocol


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_entries_count_until_routers_forget_them() -> None:
    clock = Clock()
    bound = FlowBound(100, now=clock)
    bound.add(Protocol.UDP, 60)
    bound.add(Protocol.TCP, 40)
    assert not bound.has_room(1)
    clock.at += UNANSWERED_S[Protocol.UDP] + 1
    assert bound.has_room(60)
    assert not bound.has_room(61)
    clock.at += UNANSWERED_S[Protocol.TCP] + 1
    assert bound.has_room(100)
    assert bound.has_room(5000), "a lot that is larger than the bound goes through an empty table"


def test_what_was_reset_is_forgotten_soon() -> None:
    clock = Clock()
    bound = FlowBound(100, now=clock)
    bound.add(Protocol.TCP, 100)
    bound.closed(70)
    assert not bound.has_room(1)
    clock.at += CLOSED_S + 1
    assert bound.has_room(70)
    assert not bound.has_room(71)


def test_the_next_process_takes_over_what_is_held() -> None:
    clock = Clock()
    first = FlowBound(100, now=clock)
    first.add(Protocol.TCP, 30)
    first.add(Protocol.UDP, 20)
    clock.at += 7
    second = FlowBound(100, first.held(), clock)
    assert second.has_room(50)
    assert not second.has_room(51)
    clock.at += UNANSWERED_S[Protocol.TCP] - 6
    assert second.has_room(100)


def test_taking_waits_for_room() -> None:
    clock = Clock()
    bound = FlowBound(10, now=clock)

    async def play() -> bool:
        await bound.take(Protocol.TCP, 10)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bound.take(Protocol.UDP, 10), name="waiting")
            for _ in range(5):
                await asyncio.sleep(0)
            early = waiting.done()
            clock.at += UNANSWERED_S[Protocol.TCP] + 1
        return early

    assert asyncio.run(play()) is False


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 50)),
            st.tuples(st.just("closed"), st.integers(1, 50)),
            st.tuples(st.just("later"), st.integers(1, 40)),
        ),
        max_size=30,
    )
)
def test_none_is_lost_and_none_is_invented(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    bound = FlowBound(10**9, now=clock)
    added = 0
    for what, count in steps:
        if what == "add":
            bound.add(Protocol.TCP, count)
            added += count
        elif what == "closed":
            bound.closed(count)
        else:
            clock.at += count
        assert 0 <= sum(count for _, count in bound.held()) <= added
    clock.at += 200
    assert bound.held() == ()
