"""Revocations and renewals at the coordinator, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from coordinator.api import agents, metrics, views
from coordinator.broker import pki
from coordinator.broker.issuing import Ends, Renewals, Revocations
from coordinator.rounds.durations import Durations
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.store import Store
from reachability.life import Event, EventKind
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.support.answers import json_of
from tests.support.certificate_requests import GOOD
from tests.support.waiting import HANG_S
from wire.messages import Renew, Renewed, Status
from wire.topics import UpChannel, UpTopic

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
DAY = 86400.0
DEV = UpTopic("dev", "dev-1", UpChannel.ROUND)
TOPOLOGY = Topology(
    {
        "dev": Environment("dev", (ip_network("10.10.0.0/24"),), {"dev-1": DeclaredAgent("dev-1")}),
        "prod": Environment("prod", (ip_network("10.30.0.0/24"),), {"prod-1": DeclaredAgent("prod-1")}),
    }
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path / "pki"


# -- the record -------------------------------------------------------------------------------------------------------


def uri(certificate: bytes) -> str:
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return str(names.value.get_values_for_type(x509.UniformResourceIdentifier)[0])


def test_a_revocation_raises_the_generation_of_what_is_issued_after_it(directory: Path) -> None:
    assert pki.revocations(directory) == {}
    assert uri(pki.issue_agent(directory, "dev", "dev-1", NOW).certificate) == "segwatch://agent/dev/dev-1"
    first = pki.revoke(directory, "dev-1", NOW)
    assert first == NOW.timestamp()
    assert uri(pki.issue_agent(directory, "dev", "dev-1", NOW).certificate).endswith(f"/dev-1/{first}")
    assert pki.revoke(directory, "dev-1", NOW - dt.timedelta(days=1)) == first + 1, "never one that was there before"
    assert pki.revocations(directory) == {"dev-1": first + 1}
    assert uri(pki.issue_agent(directory, "prod", "prod-1", NOW).certificate) == "segwatch://agent/prod/prod-1"
    assert (directory / "revoked.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dev-1": "now"}'])
def test_a_record_that_does_not_read_lets_nobody_in(directory: Path, text: str) -> None:
    (directory / "revoked.json").write_text(text)
    with pytest.raises(pki.PkiError, match="revoked.json cannot be read: .* Restore it"):
        pki.issue_agent(directory, "dev", "dev-1", NOW)


@pytest.mark.asyncio
async def test_a_running_coordinator_takes_up_what_is_new_and_lets_nobody_in_again(directory: Path) -> None:
    taken: list[Mapping[str, int]] = []

    async def take(generations: Mapping[str, int]) -> None:
        taken.append(generations)

    watch = Revocations(directory, {"old-1": 5}, take)
    assert watch.held == {"old-1": 5}
    with capture_logs() as said:
        await watch.look()
        await watch.look()
    assert not taken
    (older,) = said
    assert (older["event"], older["agent"]) == ("the record of revocations is older than what is in force", "old-1")
    generation = pki.revoke(directory, "dev-1", NOW)
    await watch.look()
    assert taken == [{"old-1": 5, "dev-1": generation}]
    (directory / "revoked.json").write_text("{")
    with capture_logs() as said:
        await watch.look()
    assert said[0]["event"] == "the record of revocations is refused, the old one stays"
    (directory / "revoked.json").unlink()
    await watch.look()
    assert watch.held == taken[-1]
    assert len(taken) == 1


# -- what the estate shows --------------------------------------------------------------------------------------------


def status(until: float = 0.0, generation: int = -1, *, online: bool = True) -> Status:
    return Status(
        name="dev-1",
        environment="dev",
        online=online,
        certificate_from=until - 90 * DAY if until else 0.0,
        certificate_until=until,
        generation=generation,
    )


def test_an_agent_is_revoked_until_it_comes_with_a_newer_certificate(tmp_path: Path) -> None:
    now = NOW.timestamp()
    store = Store(tmp_path)
    estate = Estate(TOPOLOGY, store, lambda: now)
    topic = UpTopic("dev", "dev-1", UpChannel.STATUS)
    assert not estate.take_status(topic, status(now + 5 * DAY, 0), retained=False).problem

    def shown() -> Any:
        return json_of(agents.agents_body(estate.agents.values(), now))[0]

    assert shown()["state"] == "connected"
    assert shown()["certificate"] == {"expires": "2026-11-28T12:00:00.000Z", "days": 5.0, "soon": True}
    (event,) = estate.revoke({"dev-1": 100, "gone-1": 7})[:1]
    assert (event.agent, event.what, event.finding) == ("dev-1", "revoked", "")
    assert estate.revoke({"dev-1": 100, "gone-1": 7}) == ()
    assert shown()["state"] == "revoked"
    late = estate.take_status(topic, status(now + 5 * DAY, 0), retained=False)
    assert late.problem == "'dev-1' uses a certificate that is revoked"
    estate.take_status(topic, status(online=False), retained=False)
    assert shown()["state"] == "revoked", "the last will of the connection that was cut"
    store.close()

    store = Store(tmp_path)
    estate = Estate(TOPOLOGY, store, lambda: now)
    assert shown()["state"] == "revoked", "a restart forgets nothing"
    assert shown()["certificate"]["days"] == 5.0
    assert not estate.take_status(topic, status(now + 90 * DAY, 100), retained=False).problem
    assert (shown()["state"], shown()["certificate"]["soon"]) == ("connected", False)
    estate.renewed("dev-1", NOW + dt.timedelta(days=90))
    told = json_of(views.history(store.events(), TOPOLOGY, {}))
    assert [(entry["agent"], entry["what"], entry["finding"]) for entry in told] == [
        ("dev-1", "renewed", None),
        ("gone-1", "revoked", None),
        ("dev-1", "revoked", None),
    ]
    store.close()


def test_the_metrics_say_when_certificates_end() -> None:
    agents = [
        AgentState(name="dev-1", environment="dev", certificate=(1.0, 1795600000.0)),
        AgentState(name="prod-1", environment="prod"),
    ]
    text = metrics.exposition(TOPOLOGY, (), (), agents, Durations(), certificates={"broker": (1.0, 5.0)})
    name = "segwatch_certificate_expires_timestamp_seconds"
    assert [line for line in text.splitlines() if line.startswith(name)] == [
        f'{name}{{agent="dev-1",environment="dev",holder="agent"}} 1.7956e+09',
        f'{name}{{agent="",environment="",holder="broker"}} 5.0',
    ]


def test_an_end_is_told_once_a_day_from_14_days_before() -> None:
    ends, told = Ends(), []
    for hour in range(100 * 24):
        now = hour * 3600.0
        told += [hour // 24 for _ in ends.due({"dev-1": (0.0, 90 * DAY), "away-1": (0.0, 0.0)}, now)]
    assert told == list(range(76, 100))


# -- renewals ---------------------------------------------------------------------------------------------------------


class Middle:
    """Renewals whose answers are kept."""

    def __init__(self, directory: Path, generation: int = 0) -> None:
        self.now = NOW.timestamp()
        self.generation = generation
        self.told: list[str] = []
        self.answers: list[tuple[str, Renewed]] = []
        self.renewals = Renewals(
            directory,
            self.post,
            generation_of=lambda _: self.generation,
            told=lambda agent, _: self.told.append(agent),
            clock=lambda: self.now,
        )

    async def post(self, agent: str, answer: Renewed) -> None:
        self.answers.append((agent, answer))

    async def ask(self, topic: UpTopic, *requests: bytes) -> list[Renewed]:
        for request in requests:
            self.renewals.ask(topic, Renew(request=request))
        before, waiting = len(self.answers), len(self.renewals._asked)
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            running = group.create_task(self.renewals.run(), name="renewals")
            while len(self.answers) < before + waiting:  # noqa: ASYNC110 - it is answered in a thread
                await asyncio.sleep(0)
            running.cancel()
        return [answer for agent, answer in self.answers[before:] if agent == topic.agent]


@pytest.mark.asyncio
async def test_a_renewed_one_has_the_generation_that_is_in_force(directory: Path) -> None:
    middle = Middle(directory, generation=42)
    (answer,) = await middle.ask(DEV, b"an older request", GOOD)
    assert uri(answer.certificate) == "segwatch://agent/dev/dev-1/42"
    assert middle.told == ["dev-1"]


@pytest.mark.asyncio
async def test_who_asked_before_it_was_revoked_gets_nothing_that_is_let_in(directory: Path) -> None:
    """Whoever has a stolen bundle may ask all the time, and wait in line."""
    middle = Middle(directory, generation=42)
    middle.renewals.ask(DEV, Renew(request=GOOD))
    middle.generation = 43
    (answer,) = await middle.ask(UpTopic("prod", "prod-1", UpChannel.ROUND), b"that is no request")
    assert answer.problem
    (mine,) = [answer for agent, answer in middle.answers if agent == "dev-1"]
    assert uri(mine.certificate) == "segwatch://agent/dev/dev-1/42"


@pytest.mark.asyncio
async def test_what_is_not_granted_is_said_on_both_sides(directory: Path) -> None:
    middle = Middle(directory)
    with capture_logs() as said:
        (answer,) = await middle.ask(UpTopic("prod", "prod-1", UpChannel.ROUND), GOOD)
    words = "'prod-1' of 'prod' asks for a certificate of 'OU=dev,CN=dev-1'"
    assert (answer.certificate, answer.problem) == (b"", words)
    assert said[0]["why"] == words
    (directory / "ca.key").chmod(0o644)
    with capture_logs() as said:
        (answer,) = await middle.ask(DEV, GOOD)
    assert answer.problem == "it cannot sign: its own log says why"
    assert "ca.key can be read by others" in said[0]["why"]
    assert not middle.told


@pytest.mark.asyncio
async def test_one_agent_gets_no_more_than_one_a_minute(directory: Path) -> None:
    middle = Middle(directory)
    assert (await middle.ask(DEV, GOOD))[0].certificate
    middle.now += 59
    assert (await middle.ask(DEV, GOOD))[0].problem == "it was given a certificate within the last 60 s"
    middle.now += 1
    assert (await middle.ask(DEV, GOOD))[0].certificate


def test_an_event_of_before_agents_had_any_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put_findings((), [Event(at=1.0, finding="F-1", what=EventKind.OPENED)])
    store._db.execute(
        "UPDATE events SET body = ?", (b"\x83\xa2at\xcb?\xf0\0\0\0\0\0\0\xa7finding\xa3F-1\xa4what\xa6opened",)
    )
    assert store.events() == [Event(at=1.0, finding="F-1", what=EventKind.OPENED)]
    store.close()
