"""A trace as the coordinator runs it: a round like any other, which concludes nothing, or a sentence why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.api import explain
from coordinator.api.traced import trace_body
from coordinator.rounds.trace import CannotTraceError, trace
from coordinator.store import Store
from reachability.arrival import ArrivalRow, WitnessHealth, WitnessReport
from reachability.observation import Hop, Observation, SourceReport
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.answers import json_of
from tests.support.rounds import World
from tests.support.virtual import now, run
from wire.messages import Arm, Close, Done, Down, Go

HOP = Hop(ttl=1, state=State.FILTERED, reason=Reason.TTL_EXCEEDED, address="10.10.0.1", sent=1, answers=1, rtt_ms=0.4)
END = Hop(ttl=2, state=State.OPEN, reason=Reason.SYN_ACK, address="10.30.0.10", sent=1, answers=1, rtt_ms=0.6)


class Traced(World):
    """The world of the engine's tests, with agents that know traces; `says` is what the source reports.

    The first time it is armed, the witness takes `cold_s`.
    """

    says: tuple[Observation, ...] | None = None
    cold_s = 0.0

    def _answer(self, agent: str, message: Down) -> None:
        if isinstance(message, Go):
            target = message.targets[0]
            seen = Observation(
                target=target.id, source_address="10.10.0.10", address=target.address, protocol=target.protocol,
                state=State.OPEN, reason=Reason.SYN_ACK, ports=target.ports, via="eth0 10.10.0.1", sent=16,
            )  # fmt: skip
            said = (seen,) if self.says is None else self.says
            report = SourceReport(round=message.round, agent=agent, observations=said, trace=(HOP, END), packets=16)
            self.engine.report(report)
            self.engine.answer(agent, Done(round=message.round, agent=agent, sequence=1, tail_s=0.0))
        elif isinstance(message, Close):
            self.engine.report(self.seen(message.round))
        elif isinstance(message, Arm) and agent == "prod-1" and self.cold_s:
            asyncio.get_running_loop().call_later(self.cold_s, super()._answer, agent, message)
            self.cold_s = 0.0
        else:
            super()._answer(agent, message)

    @staticmethod
    def seen(name: str, late: bool = False) -> WitnessReport:
        row = ArrivalRow(target=1, address="10.30.0.10", protocol=Protocol.TCP, copies=15, first_copy=3)
        health = (WitnessHealth(address="10.30.0.10", healthy=True),)
        return WitnessReport(round=name, agent="prod-1", arrivals=(row,), health=health, late=late)

    def ready(self, name: str, **more: Any) -> None:
        self.estate.agents[name] = replace(self.estate.agents[name], **{"traces": True, **more})

    async def trace(self, port: str = "tcp/22", to: str = "10.30.0.10") -> Any:
        estate = self.estate
        shown = explain.find_cell(estate.plan, estate.cells(), ("dev-1", to, port))
        assert shown.target is not None
        return json_of(trace_body(await trace(estate, self.engine, shown.cell.key, shown.ports, shown.target.witness)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Traced]:
    store = Store(tmp_path / "state")
    made = Traced(store)
    made.ready("dev-1")
    yield made
    store.close()


def refused(world: Traced, **more: Any) -> str:
    with pytest.raises(CannotTraceError) as caught:
        run(world.trace(**more))
    return str(caught.value)


def test_a_trace_is_a_round_of_one_cell_with_its_witness(world: Traced) -> None:
    body = run(world.trace())
    assert world.kinds() == ["Arm", "Go", "Close"]
    arm, go = (message for _, message in world.sent[:2])
    assert isinstance(arm, Arm)
    assert isinstance(go, Go)
    assert (arm.kind, go.kind) == (RoundKind.NORMAL, RoundKind.TRACE), "an older witness can tell what arrives"
    assert [(t.address, str(t.ports), t.source) for t in go.targets] == [("10.30.0.10", "22", "10.10.0.10")]
    assert (go.controls, arm.inside) == ((), ())
    assert (body["port"], body["reached"], body["stops_after"], body["packets"]) == (22, True, None, 16)
    assert [(hop["ttl"], hop["address"], hop["reason"]) for hop in body["hops"]] == [
        (1, "10.10.0.1", "ttl-exceeded"),
        (2, "10.30.0.10", "syn-ack"),
    ]
    assert body["witness"] == {"agent": "prod-1", "healthy": True, "why": None, "arrived": 15, "least_ttl": 2}


def test_a_witness_whose_packet_child_starts_slowly_is_waited_for(world: Traced) -> None:
    world.cold_s = 6.5
    body = run(world.trace())
    (go,) = [message for _, message in world.sent if isinstance(message, Go)]
    assert body["round"] == go.round == world.sent[-1][1].round  # type: ignore[union-attr]
    assert (body["witness"]["healthy"], body["witness"]["arrived"]) == (True, 15)


def test_nothing_is_concluded_from_a_trace_not_even_later(world: Traced) -> None:
    body = run(world.trace())
    world.late(world.seen(body["round"], late=True))
    assert len(world.estate.matrix) == 0
    assert world.estate.store.group_of(body["round"]) == []
    assert world.estate.book.findings == ()


def test_icmp_has_no_port(world: Traced) -> None:
    assert run(world.trace("icmp"))["port"] is None


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"online": False}, "dev-1 is not connected; it was last heard of at 1970-01-12T13:46:40.000Z"),
        ({"online": False, "last_seen": 0.0}, "dev-1 is not connected"),
        (
            {"raw": False, "lacks": "this process lacks CAP_NET_RAW"},
            "dev-1 cannot trace: this process lacks CAP_NET_RAW",
        ),
        ({"traces": False, "version": "0.1.0"}, "dev-1 runs segwatch 0.1.0, which cannot trace: upgrade it"),
    ],
)
def test_an_agent_that_cannot_is_not_asked(world: Traced, state: dict[str, Any], text: str) -> None:
    world.ready("dev-1", **state)
    assert refused(world) == text
    assert world.sent == []


def test_nothing_is_traced_while_probing_is_stopped(world: Traced) -> None:
    world.engine.brake._interrupted = "maintenance"
    assert refused(world) == "all probing is stopped: maintenance"


def test_a_busy_source_or_destination_is_said_soon(world: Traced) -> None:
    async def scene() -> str:
        async with world.engine._destinations.setdefault("prod", asyncio.Lock()):
            with pytest.raises(CannotTraceError) as caught:
                await world.trace()
            assert now() == pytest.approx(10.0, abs=0.01)
        await world.trace()  # it does not keep what it waited for
        return str(caught.value)

    assert run(scene()).startswith("another round has dev-1 or prod to itself")


@pytest.mark.parametrize(
    ("reason", "note", "text"),
    [
        (Reason.NO_ROUTE, "", "dev-1 did not trace 10.30.0.10: it knows no route there"),
        (
            Reason.NOT_ALLOWED,
            "10.30.0.10 is in no network",
            "dev-1 did not trace 10.30.0.10: 10.30.0.10 is in no network",
        ),
        (Reason.LOCAL_ERROR, "", "dev-1 did not trace 10.30.0.10: local-error"),
    ],
)
def test_what_the_agent_would_not_do_is_said(world: Traced, reason: Reason, note: str, text: str) -> None:
    world.says = (
        Observation(
            target=1, source_address="", address="10.30.0.10", protocol=Protocol.TCP, state=State.ERROR,
            reason=reason, note=note,
        ),
    )  # fmt: skip
    assert refused(world) == text


def test_a_source_that_goes_away_or_says_nothing_ends_it(world: Traced) -> None:
    world.says = ()
    assert refused(world) == "dev-1 did not trace: it did not answer in time"
    world.deaf = {"dev-1"}

    async def leave() -> None:
        await asyncio.sleep(1.0)
        world.online("dev-1", online=False)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(leave(), name="leave")
            with pytest.raises(CannotTraceError, match="it did not answer in time"):
                await world.trace()

    run(scene())


def test_an_agent_that_has_left_the_roster_has_nothing_to_trace(world: Traced) -> None:
    shown = explain.find_cell(world.estate.plan, world.estate.cells(), ("dev-1", "10.30.0.10", "tcp/22"))
    world.estate.agents.pop("dev-1")
    with pytest.raises(CannotTraceError, match="no longer in the plan"):
        run(trace(world.estate, world.engine, shown.cell.key, shown.ports, ""))


def test_a_finding_without_cells_is_about_none(world: Traced) -> None:
    gone: Any = SimpleNamespace(regions=())
    assert explain.of_finding(world.estate.plan, world.estate.cells(), gone) is None


def test_no_packet_is_traced_to_an_address_that_dns_alone_places_in_the_environment(world: Traced) -> None:
    world.estate.plan = tuple(replace(target, elsewhere=target.destination == "prod") for target in world.estate.plan)
    assert refused(world) == "10.30.0.10 is in no network of prod: nothing is sent there"
