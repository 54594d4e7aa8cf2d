"""What a running agent takes of a configuration that was changed, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from agent.config import AgentConfig, ConfigError, Window
from agent.service import Reload

CONFIG = AgentConfig(name="dev-1", environment="dev", broker="mqtts://10.0.0.1:8883", allow=("10.30.0.0/24",))
NARROW = msgspec.structs.replace(
    CONFIG, deny=("10.30.0.9",), rate_pps=10, blackout=(Window(cron="0 2 * * *", for_s=60),)
)


class Case:
    """`found` is what the state directory holds: a configuration, or what is wrong with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: AgentConfig | ConfigError | OSError = CONFIG
        self.taken: list[AgentConfig] = []
        self.reload = Reload(self.taken.append, CONFIG, Path("state"), structlog.get_logger())
        monkeypatch.setattr("agent.service.load", self._load)

    def _load(self, state_dir: Path) -> AgentConfig:
        assert state_dir == Path("state")
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def said(self) -> list[tuple[str, object]]:
        with capture_logs() as lines:
            self.reload()
        return [(line["event"], line.get("changed", line.get("problem"))) for line in lines]


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


def test_what_the_owner_narrows_is_taken(case: Case) -> None:
    case.found = NARROW
    assert case.said() == [("configuration loaded", ["deny", "rate_pps", "blackout"])]
    assert case.taken == [NARROW]
    assert case.said() == [("configuration loaded", [])], "the second time nothing is new"


@pytest.mark.parametrize(
    "error", [ConfigError("state/agent.json: allow[0]: 'all' is not a network"), PermissionError("coordinator.pub")]
)
def test_a_broken_file_is_refused_and_the_old_one_stays(case: Case, error: ConfigError | OSError) -> None:
    case.found = error
    assert case.said() == [("configuration refused, the old one stays in force", str(case.found))]
    assert case.taken == []


def test_who_it_is_and_where_its_broker_is_needs_a_restart(case: Case) -> None:
    case.found = msgspec.structs.replace(NARROW, name="dev-2", broker="mqtts://10.0.0.2:8883", user="other")
    wants = ("needs a restart, the old value stays in force", ["name", "broker", "user"])
    assert case.said() == [wants, ("configuration loaded", ["deny", "rate_pps", "blackout"])]
    assert case.taken == [NARROW], "the rest is taken"
    assert case.said() == [wants, ("configuration loaded", [])], "it is said again as long as it is so"


def test_every_key_is_either_taken_or_needs_a_restart(case: Case) -> None:
    other: dict[str, object] = {
        "name": "x", "environment": "x", "broker": "mqtts://x:1", "state_dir": "x", "user": "x", "flows": 7,
        "allow": ("10.0.0.0/8",), "deny": ("10.0.0.1",), "rate_pps": 7,
        "credentials": msgspec.structs.replace(CONFIG.credentials, key="x"), "blackout": NARROW.blackout,
    }  # fmt: skip
    assert other.keys() == set(CONFIG.__struct_fields__)
    for key, value in other.items():
        case.found = msgspec.structs.replace(CONFIG, **{key: value})
        restart, loaded = ([], [key]) if key in {"allow", "deny", "rate_pps", "flows", "blackout"} else ([key], [])
        said = dict(case.said())
        assert said.get("needs a restart, the old value stays in force", []) == restart
        assert key in loaded or not loaded
        assert getattr(case.taken[-1], key) == (value if loaded else getattr(CONFIG, key))
