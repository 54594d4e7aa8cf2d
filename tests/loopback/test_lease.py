"""A stop, whatever the broker does: confirmed by each agent, and where it is withheld no agent sends on for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coordinator.messaging import lease
from tests.loopback.captured import System
from tests.support.waiting import until

LEASE_S, PERIOD_S = 4.0, 1.0


def said(system: System) -> dict[str, str | None]:
    """Agent to whether it has confirmed the stop."""
    return {agent.name: agent.stop for agent in system.daemon.status().agents}


def why(system: System, name: str) -> list[str]:
    """The stops that its packet child was told of."""
    return [order["reason"] for order in system.orders(name) if order["type"] == "stop"]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_S", LEASE_S)
    monkeypatch.setattr(lease, "PERIOD_S", PERIOD_S)


@asynccontextmanager
async def sending(directory: Path) -> AsyncIterator[System]:
    """An estate in which dev-1 sends, and does not come to an end."""
    system = System(directory)
    async with system.running("dev-1", "prod-1"):
        (directory / "dev-1" / "hold").touch()
        system.daemon.runs.ask(sweep=False, source="dev", destination="prod")
        await until(lambda: any(order["type"] == "go" for order in system.orders("dev-1")))
        yield system


@pytest.mark.asyncio
async def test_a_broker_that_withholds_all_orders_ends_probing_and_a_stop_is_confirmed_when_it_is_heard(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path) as system:
        assert set(said(system).values()) == {None}, "nothing is stopped"
        system.broker.drops = lambda topic, _: "/dev-1/down/" in topic
        await system.daemon.engine.stop("maintenance")
        await until(lambda: said(system)["prod-1"] == "confirmed")
        await until(lambda: why(system, "dev-1"))
        assert why(system, "dev-1")[0].startswith("no order of the coordinator's has let it send for 4 s")
        await until(lambda: system.daemon.status().agents[0].not_now)
        assert said(system) == {"dev-1": "not yet", "prod-1": "confirmed"}, "it has heard no stop"
        system.broker.drops = lambda *_: False
        await until(lambda: said(system)["dev-1"] == "confirmed")  # it is repeated
        (tmp_path / "dev-1" / "hold").unlink()
        await system.daemon.engine.resume()
        await until(lambda: not any(agent.not_now for agent in system.daemon.status().agents))
        assert set(said(system).values()) == {None}
        await system.verify()
        assert len([order for order in system.orders("dev-1") if order["type"] == "go"]) > 1, "it goes on by itself"
        assert (system.refusals("dev-1"), system.refusals("prod-1")) == (1, 0), "the end of the lease, in words"


@pytest.mark.asyncio
async def test_plans_that_go_through_let_nobody_send_on_while_the_stop_is_withheld(tmp_path: Path) -> None:
    """A broker picks what it withholds: the coordinator signs no lease while all is stopped, also for who comes anew."""
    async with sending(tmp_path) as system:
        system.broker.drops = lambda topic, _: topic.endswith("/dev-1/down/round")
        await system.daemon.engine.stop("maintenance")
        system.daemon._plans.want("dev-1")
        await until(lambda: why(system, "dev-1"))
        assert why(system, "dev-1")[0] == "the coordinator has stopped all probing"
