"""What stands for a move of an agent is known before the move is in force, and never comes twice."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coordinator.state.moves import Moves
from coordinator.store import Store, StoreError
from reachability.topology import DeclaredAgent, Environment, Topology


def with_one_in(name: str) -> Topology:
    """An agent that moves, in that environment or in none; and one that stays."""
    homes = {"stays": "two", "moves": name}
    return Topology(
        {
            each: Environment(each, (), agents={who: DeclaredAgent(who) for who, home in homes.items() if home == each})
            for each in ("one", "two")
        }
    )


HERE, THERE, NOWHERE = with_one_in("one"), with_one_in("two"), with_one_in("")


def test_what_a_plan_is_made_with_is_what_is_in_force_then(store: Store) -> None:
    moves = Moves(store)
    for topology in (HERE, THERE, NOWHERE, HERE, THERE):
        ahead = dict(moves.after(topology))
        assert dict(moves.after(topology)) == ahead, "asking is no move"
        moves.take(topology)
        assert moves.last == moves.after(topology) == ahead


def test_there_and_back_is_not_where_it_was(store: Store) -> None:
    """Somebody may have carried the host: what was proven before counts no more, however often it goes on."""
    moves, seen = Moves(store), list[Mapping[str, str]]()
    for number in range(6):
        moves.take((HERE, THERE)[number % 2])
        seen.append(dict(moves.last))
    for name in ("one", "two"):
        texts = [each.get(name, "") for each in seen]
        assert len(set(texts)) == len(texts), name
    moves.take(NOWHERE)
    moves.take(THERE)
    assert moves.last == seen[-1], "who was taken out and comes back where he was has not moved"


def test_a_topology_that_was_only_planned_leaves_nothing(store: Store) -> None:
    """It was refused, or asked about: the next is not taken for what comes after it."""
    moves = Moves(store)
    moves.take(HERE)
    before = dict(moves.last)
    moves.after(THERE)
    moves.take(HERE)
    assert moves.last == before


def test_moves_that_a_full_disk_lost_do_not_come_again_after_a_restart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, back and there again, of which the store knows nothing: what was proven the first time there is not proven now."""
    moves = Moves(store)
    moves.take(HERE)
    assert moves.write()
    lost = []
    with monkeypatch.context() as full:
        full.setattr(store, "put", _full)
        for topology in (THERE, HERE, THERE):
            moves.take(topology)
            with pytest.raises(StoreError):
                moves.write()
            lost.append(moves.last["one"])
    again = Moves(store)
    again.take(THERE)
    assert again.last["one"] not in lost


def _full(*_: object) -> None:
    raise StoreError("disk full")
