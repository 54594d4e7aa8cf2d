"""What the page is shown, part by part: made anew where something changed, and sent again to who has not got it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from coordinator.api.live.picture import EVERY_S, Picture, picture_of
from coordinator.api.responses.status import Failure
from tests.support import sample


class Made:
    """Bodies that a test sets; how often they were made, and how long that takes."""

    def __init__(self, **bodies: str) -> None:
        self.bodies, self.times, self.takes_s, self.now, self.seen = bodies, 0, 0.0, 0.0, 0
        self.picture = Picture(lambda: self.seen, self.made, lambda: self.now)

    def made(self) -> Mapping[str, Any]:
        self.times += 1
        self.now += self.takes_s
        return {name: (Failure(error=text), Failure(error=text)) for name, text in self.bodies.items()}

    def look(self, **bodies: str) -> None:
        self.bodies |= bodies
        self.seen += bool(bodies)
        self.now += EVERY_S
        self.picture.look()

    def since(self, last: str) -> list[str]:
        return [name for name, _ in self.picture.since(last)]


def test_who_knows_nothing_gets_all_and_who_knows_all_nothing() -> None:
    made = Made(status="a", matrix="b")
    made.look()
    assert made.picture.since("") == [("status", b'{"error":"a"}'), ("matrix", b'{"error":"b"}')]
    assert made.since(made.picture.id) == []


def test_who_was_away_gets_what_changed_meanwhile() -> None:
    made = Made(status="a", matrix="b", findings="c")
    made.look()
    left = made.picture.id
    made.look(matrix="b2")
    between = made.picture.id
    made.look(findings="c2")
    made.look(matrix="b3")
    assert made.since(left) == ["matrix", "findings"]
    assert dict(made.picture.since(left))["matrix"] == b'{"error":"b3"}'
    assert made.since(between) == ["matrix", "findings"]
    assert made.since(made.picture.id) == []


def test_another_process_and_what_is_no_id_get_all() -> None:
    made, other = Made(status="a"), Made(status="a")
    made.look()
    other.look()
    number = made.picture.id.partition("-")[2]
    for last in (
        other.picture.id,
        number,
        f"{made.picture.name}-",
        f"{made.picture.name}-9",
        f"{made.picture.name}-{'9' * 5000}",
        f"{made.picture.name}-²",
        "\udcff",
    ):
        assert made.since(last) == ["status"], last


def test_while_nothing_changes_nothing_is_made() -> None:
    made = Made(status="a")
    for _ in range(10):
        made.look()
    assert made.times == 1


def test_what_is_made_anew_and_is_the_same_is_not_sent_again() -> None:
    made = Made(status="a")
    made.look()
    left = made.picture.id
    made.look(status="a")
    assert (made.times, made.picture.id) == (2, left)


def test_many_readers_have_it_made_once() -> None:
    made = Made(status="a")
    for _ in range(30):
        made.seen += 1
        made.picture.look()
    assert made.times == 1


def test_an_estate_that_takes_long_leaves_the_coordinator_three_quarters_of_its_time() -> None:
    made = Made(status="a")
    made.takes_s = 4.0
    began = made.now
    while made.now - began < 160.0:
        made.look(status=str(made.now))
    assert made.times <= 11


def test_a_status_is_not_sent_again_for_an_age() -> None:
    held, now = sample.Estate(), sample.NOW.timestamp()
    agents = {agent.name: agent for agent in sample.AGENTS}
    estate: Any = SimpleNamespace(
        topology=held.topology, plan=held.plan, book=held.book, agents=agents, problem="", losses={}, clock=lambda: now, cells=lambda: held.cells
    )  # fmt: skip
    stopped, steady = list[str](), [0.0]

    def status() -> Any:
        later = "2026-11-23T12:06:09.000Z" if steady[0] > 1 else "2026-11-23T12:06:07.000Z"
        return msgspec.structs.replace(held.status(agents.values()), now=later, stopped=stopped[0] if stopped else None)

    picture = picture_of(estate, status, lambda: tuple(stopped), lambda: steady[0])

    def changed() -> list[str]:
        nonlocal now
        last, steady[0], now = picture.id, steady[0] + 10, now + 10
        picture.look()
        return [name for name, _ in picture.since(last)]

    assert changed() == ["status", "matrix", "coverage", "findings"]
    agents["dev-1"] = replace(agents["dev-1"], last_seen=now)
    assert changed() == [], "a sign of life"
    agents["dev-1"] = replace(agents["dev-1"], online=False)
    assert changed() == ["status"]
    agents["dev-1"] = replace(agents["dev-1"], last_round=now)
    assert changed() == ["status"], "its age begins anew"
    stopped.append("maintenance")
    assert changed() == ["status"]
    held.matrix = sample.observe(held.plan, leak=False)
    assert changed() == ["status", "matrix", "coverage"], "by time alone: nobody told of it"


@pytest.mark.parametrize("part", ["status", "matrix", "coverage", "findings"])
def test_a_part_is_what_the_api_answers(part: str) -> None:
    held = sample.Estate()
    estate: Any = SimpleNamespace(
        topology=held.topology, plan=held.plan, book=held.book, agents={}, problem="", losses={}, clock=lambda: 0.0, cells=lambda: held.cells
    )  # fmt: skip
    picture = picture_of(estate, held.status, tuple, lambda: 0.0)
    picture.look()
    body = msgspec.json.decode(dict(picture.since(""))[part])
    names = {"status": "agents", "matrix": "pairs", "coverage": "cells"}
    assert body[names[part]] if part in names else body[0]["id"]
