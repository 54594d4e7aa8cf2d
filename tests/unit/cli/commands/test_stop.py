"""A stop as a person asks for it and sees it: the verb, `verify`, the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from textual.widgets import Static

from cli.commands.stop import command, confirmed
from cli.dashboard.app import Dashboard
from cli.formats.terminal import report
from cli.show.render import Paint
from coordinator.api.responses.runs import Stopped as Answered
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate

STOPPED_AT = datetime(2026, 11, 25, 10, 2, tzinfo=UTC)


class Stopped(FakeCoordinator):
    """One that can be stopped, as `coordinator.daemon` does it."""

    stopped: str | None = None

    def get(self, path: str, query: dict[str, str]) -> Any:
        body = super().get(path, query)
        if path != "status":
            return body
        return msgspec.structs.replace(body, stopped=self.stopped, stopped_at="2026-11-25T10:02:00.000Z")

    def post(self, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        self.stopped = (body["reason"] or "stopped") if path == "stop" else None
        return Answered(stopped=self.stopped)


def test_it_stops_and_resumes_and_says_so(tmp_path: Path) -> None:
    with served(Stopped(Estate()), tmp_path) as fake:

        def said(*arguments: str) -> str:
            done = CliRunner().invoke(
                command, [*arguments, "--by", "olga", "--state-dir", str(tmp_path)], catch_exceptions=False
            )
            return done.output

        assert said("--resume") == "Nothing was stopped.\n"
        assert said("--reason", "maintenance") == "All probing is stopped: maintenance. To go on: segwatch resume\n"
        assert said("--resume") == "Probing goes on.\n"
    assert fake.posted == [
        ("resume", {"by": "olga"}),
        ("stop", {"reason": "maintenance", "by": "olga"}),
        ("resume", {"by": "olga"}),
    ]


STOPPED = "All probing is stopped: maintenance. To go on: segwatch resume"


STATES = {"test-1": "lost"}
LATER = "it is told when it comes, and stops by itself a minute after it last heard an order"


class Confirming(Stopped):
    """Who has confirmed, status by status; the last goes on for ever."""

    def __init__(self, *rounds: Mapping[str, str | None]) -> None:
        super().__init__(Estate())
        self.rounds = list(rounds)

    def get(self, path: str, query: dict[str, str]) -> Any:
        body = super().get(path, query)
        said = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        agents = tuple(
            msgspec.structs.replace(agent, stop=said[agent.name], state=STATES.get(agent.name, "connected"))
            for agent in body.agents
            if agent.name in said
        )
        return msgspec.structs.replace(body, agents=agents)


def said_of(*rounds: Mapping[str, str | None]) -> tuple[list[str], float]:
    """What is said of the agents, and after how many seconds."""
    fake, slept = Confirming(*rounds), list[float]()

    class Reading:
        def get(self, path: str, _: object, /) -> Any:
            return fake.get(path, {})

    return confirmed(Reading(), lambda: sum(slept), slept.append), sum(slept)  # type: ignore[arg-type]


def test_it_waits_until_all_who_are_there_have_confirmed() -> None:
    both = {"dev-1": "not yet", "prod-1": "not yet"}
    lines, seconds = said_of(both, {**both, "dev-1": "confirmed"}, {"dev-1": "confirmed", "prod-1": "confirmed"})
    assert lines == ["confirmed: 2 of 2 agents"]
    assert seconds == pytest.approx(1.0)


def test_it_names_who_has_not_and_says_what_to_do() -> None:
    lines, seconds = said_of({"dev-1": "not yet", "prod-1": "confirmed", "staging-1": "unable", "test-1": "not yet"})
    assert lines == [
        "confirmed: 1 of 4 agents",
        "! dev-1 has not confirmed: it is connected; look at its host, and again: segwatch agents",
        f"! test-1 has not confirmed: it is lost; {LATER}",
        "! staging-1 has not confirmed: its version cannot say; upgrade it",
    ]
    assert 5.0 <= seconds < 6.0, "and it does not wait for ever"


def test_it_waits_for_nobody_who_is_away_or_cannot_say() -> None:
    lines, seconds = said_of({"prod-1": "unable", "test-1": "not yet"})
    assert (len(lines), seconds) == (3, 0)


def test_of_a_coordinator_that_does_not_know_nothing_is_said() -> None:
    assert said_of({"dev-1": None, "prod-1": None}) == ([], 0)


def test_both_are_said(tmp_path: Path) -> None:
    with served(Confirming({"dev-1": "confirmed"}), tmp_path):
        done = CliRunner().invoke(command, ["--reason", "maintenance", "--state-dir", str(tmp_path)])
    assert (done.exit_code, done.output) == (0, f"{STOPPED}\nconfirmed: 1 of 1 agent\n")


def test_a_verify_that_was_stopped_says_why() -> None:
    body = msgspec.structs.replace(Estate().run_body(), stopped="maint\x1b[31menance")
    line = next(line for line in report(body, Paint(color=False)) if "stopped" in line)
    assert line.startswith("! all probing was stopped meanwhile: maint")
    assert line.endswith("enance. To go on: segwatch resume")
    assert "\x1b" not in line
    body = msgspec.structs.replace(body, stopped=None)
    assert not [line for line in report(body, Paint(color=False)) if "stopped" in line]


@pytest.mark.parametrize(
    ("now", "since"),
    [
        (STOPPED_AT, "10:02:00"),
        (STOPPED_AT + timedelta(days=2), "2026-11-25 10:02:00"),
        (STOPPED_AT - timedelta(days=2), "2026-11-25 10:02:00"),
    ],
)
def test_the_dashboard_shows_it_first(now: datetime, since: str) -> None:
    fake = Stopped(Estate())
    fake.stopped = "maintenance"

    class Reading:
        def get(self, path: str, _: object, /, **query: str | int | None) -> Any:
            return fake.get(path, {name: str(value) for name, value in query.items()})

    async def headline() -> str:
        app = Dashboard(Reading(), every_s=0, now=lambda: now)
        async with app.run_test() as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            return str(app.query_one("#headline", Static).render())

    assert asyncio.run(headline()).startswith(f"STOPPED since {since}: maintenance · ")
