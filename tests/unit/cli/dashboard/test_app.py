"""The dashboard's line of an agent whose certificate ends soon, or was revoked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replaced
from textual.widgets import Static

from cli.dashboard.app import Dashboard
from coordinator.api.responses.status import Certificate
from coordinator.state.roster import AgentState
from tests.support.fake_api import FakeCoordinator
from tests.support.sample import AGENTS, NOW, Estate

DAY = 86400.0


class Reader:
    """The sample's API with other agents."""

    def __init__(self, agents: tuple[AgentState, ...], **own: Certificate) -> None:
        self._fake, self._agents, self._own = FakeCoordinator(Estate()), agents, own

    def get(self, path: str, _: object, /, **query: str | int | None) -> Any:
        if path == "status":
            return replaced(self._fake.estate.status(self._agents), certificates=self._own)
        return self._fake.get(path, {name: str(value) for name, value in query.items()})


@pytest.mark.asyncio
async def test_the_end_of_a_certificate_shows_14_days_ahead() -> None:
    now = NOW.timestamp()
    days = (20.0, 13.0, -1.0)
    agents = tuple(
        replace(agent, certificate=(now + (left - 90) * DAY, now + left * DAY), revoked=left < 0)
        for agent, left in zip(AGENTS, days, strict=False)
    )
    app = Dashboard(Reader(agents), every_s=0)
    async with app.run_test(size=(160, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        lines = str(app.query_one("#agents", Static).render()).splitlines()
    assert "certificate" not in lines[0]
    assert lines[1].endswith("certificate ends in 13 days")
    assert "revoked" in lines[2]
    assert lines[2].endswith("certificate has ended")


@pytest.mark.asyncio
async def test_the_end_of_one_of_the_coordinators_own_shows_too() -> None:
    held = {
        "ca": Certificate(expires="2026-12-01T12:00:00.000Z", days=8.0, soon=True),
        "broker": Certificate(expires="2027-02-21T12:00:00.000Z", days=90.0, soon=False),
    }
    app = Dashboard(Reader(AGENTS, **held), every_s=0)
    async with app.run_test(size=(160, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        text = str(app.query_one("#agents", Static).render())
    assert "! ca: its certificate ends in 8 days" in text
    assert "broker" not in text
