"""Who has come over to a new CA, by the statuses."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from coordinator.broker import pki, rotation
from coordinator.broker.authority import Authority
from coordinator.broker.rotation import Rotation
from coordinator.messaging.coming_over import follow
from coordinator.state.roster import AgentState

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)


async def take(_: Authority) -> None:
    """Nobody is to be told."""


def test_each_agent_says_what_it_lacks_also_while_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "pki"
    pki.init(directory, NOW)
    held = rotation.begin(directory, NOW)
    watched = Rotation(directory, take)
    agents = {
        "dev-1": AgentState(name="dev-1", environment="dev", instance="a", ca=rotation.name_of(held, 1), trust="other"),
        "prod-1": AgentState(name="prod-1", environment="prod"),
    }

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, capture_logs() as said:
        disk.setattr("coordinator.broker.rotation.write_private", full)
        follow(watched, agents)
        follow(watched, agents)
    assert [entry["event"] for entry in said] == ["who has come over to the new CA cannot be kept"]
    assert [agent.rotation for agent in agents.values()] == ["unheard", "unheard"]
    follow(watched, agents)
    assert [agent.rotation for agent in agents.values()] == ["certificate", "unheard"]
    rotation.finish(directory, agents, agents)
    asyncio.run(watched.look())
    follow(watched, agents)
    assert [agent.rotation for agent in agents.values()] == ["", ""]
