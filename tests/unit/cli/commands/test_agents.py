"""`segwatch agents`: who is there, and who has confirmed a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner

from cli.commands.agents import command, listing
from cli.show.render import Paint
from coordinator.api.responses.status import Status
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate


def body(stopped: str | None = None, **of: dict[str, Any]) -> Status:
    """The sample, all probing stopped for a reason or not; and what else there is to say of an agent."""
    status = Estate().status()
    agents = tuple(msgspec.structs.replace(agent, **of.get(agent.environment, {})) for agent in status.agents)
    return msgspec.structs.replace(status, agents=agents, stopped=stopped, stopped_at=status.now if stopped else None)


def said(status: Status) -> list[str]:
    return listing(status, Paint(color=False))


def test_one_sentence_then_a_line_for_each() -> None:
    first, empty, titles, *rows = said(body())
    assert first == "3  of 4 agents connected"
    assert empty == ""
    assert titles.split() == ["environment", "state", "version", "last", "seen"]
    assert [row.split()[:5] for row in rows] == [
        ["●", "dev-1", "dev", "connected", "0.1.0"],
        ["○", "test-1", "test", "lost", "0.1.0"],
        ["●", "staging-1", "staging", "connected", "0.1.0"],
        ["●", "prod-1", "prod", "connected", "0.1.0"],
    ]


def test_while_all_is_stopped_it_says_who_has_confirmed() -> None:
    lines = said(
        body(
            "main\x1btenance",
            dev={"stop": "confirmed", "not_now": "the coordinator has stopped all probing"},
            test={"stop": "not yet"},
            staging={"stop": "unable"},
            prod={"stop": "confirmed"},
        )
    )
    text = "\n".join(lines)
    assert "all probing is stopped since " in lines[0]
    assert "main·tenance · confirmed by 2" in " ".join(lines[:2])
    assert "\x1b" not in text
    assert "confirmed  0.1.0" in text
    assert "! test-1: has not confirmed that all of its probing has ended" in text
    assert "! staging-1: cannot confirm that its probing has ended: its version is older. Upgrade it" in text
    assert "sends nothing now" not in text, "which nobody does"
    assert lines[-1] == "  to go on: segwatch resume"


def test_why_one_sends_nothing_is_said_while_others_do() -> None:
    lines = said(body(prod={"not_now": "no order of the coordinator's has let it send for 60 s"}))
    assert lines[-1] == "! prod-1: sends nothing now: no order of the coordinator's has let it send for 60 s"


def test_as_json_it_is_what_the_coordinator_says(tmp_path: Path) -> None:
    with served(FakeCoordinator(Estate()), tmp_path):
        done = CliRunner().invoke(command, ["-o", "json", "--state-dir", str(tmp_path)], catch_exceptions=False)
        shown = CliRunner().invoke(command, ["--state-dir", str(tmp_path)], catch_exceptions=False)
    assert [(agent["name"], agent["state"], agent["stop"]) for agent in json.loads(done.output)] == [
        ("dev-1", "connected", None), ("test-1", "lost", None), ("staging-1", "connected", None), ("prod-1", "connected", None),
    ]  # fmt: skip
    assert shown.output.startswith("3  of 4 agents connected")
