"""Four hundred days of an estate's certificates, on a virtual clock: nobody does anything."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from agent import credential
from agent.config import AgentConfig, ca_of, save
from agent.config import credential as files_of
from agent.renewal import Renewal
from coordinator.broker import authority, pki, rotation
from coordinator.broker.addresses import Listen
from coordinator.broker.authority import Authority
from coordinator.broker.embedded import EmbeddedBroker
from coordinator.broker.issuing import Renewals
from coordinator.broker.own import OwnCertificates
from coordinator.broker.rotation import Rotation
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.support import virtual
from wire.certificate_request import is_issued_by
from wire.certificates import renew_at
from wire.messages import Renew, Renewed
from wire.topics import UpChannel, UpTopic

START = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
DAYS, MONTH_S, STEP_S, DAY_S = 400, 30 * 86400.0, 6 * 3600.0, 86400.0
CHANCES = {"dev-1": 0.0, "dev-2": 0.5, "dev-3": 1.0}
TOPOLOGY = Topology(
    {"dev": Environment("dev", (ip_network("10.10.0.0/24"),), {name: DeclaredAgent(name) for name in CHANCES})}
)


def clock() -> float:
    return START.timestamp() + virtual.now()


def moment() -> dt.datetime:
    return dt.datetime.fromtimestamp(clock(), dt.UTC)


class Server(EmbeddedBroker):
    """With no process: one that is always there."""

    @property
    def pid(self) -> int:
        return 1

    def _hang_up(self) -> None:
        """Nobody is to be told."""


class Estate:
    """A coordinator with its broker, and three agents. What connects must show what the other side takes at that moment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pki = directory / "pki"
        pki.init(self.pki, START)
        self.rotation = Rotation(self.pki, self.rotate)
        self.broker = Server(TOPOLOGY, self.pki, directory, Listen("127.0.0.1", 8883))
        self.broker._issue(START)
        self.own = OwnCertificates(self.pki, self.broker)
        self.away: set[str] = set()
        self.seen: dict[tuple[bytes, bytes], tuple[dt.datetime, dt.datetime]] = {}
        self.granted: list[str] = []
        self.signing = Renewals(
            self.pki,
            self.post,
            generation_of=lambda _: 0,
            told=lambda agent, _: self.granted.append(agent),
            clock=clock,
        )
        self.agents = {name: self.agent(name, chance) for name, chance in CHANCES.items()}

    def agent(self, name: str, chance: float) -> Renewal:
        state = self.directory / name
        state.mkdir(mode=0o700)
        config = AgentConfig(name=name, environment="dev", broker="mqtts://127.0.0.1:1", allow=("10.0.0.0/8",))
        issued = pki.issue_agent(self.pki, "dev", name, START)
        held = {"agent.pem": issued.certificate, "agent.key": issued.key, "ca.pem": (self.pki / "ca.pem").read_bytes()}
        for file, data in held.items():
            (state / file).write_bytes(data)
        save(config, state)

        async def child(kind: str, given: bytes) -> bytes:
            match kind:
                case "look":
                    return msgspec.json.encode(credential.look(config, state))
                case "request":
                    return credential.request(config, state)
                case _:
                    return msgspec.json.encode(credential.take(config, state, given))

        def ask(request: Renew) -> None:
            if name not in self.away and not self.shows(*files_of(config, state)):
                self.signing.ask(UpTopic("dev", name, UpChannel.ROUND), request)

        async def try_out(path: Path) -> str:
            return self.shows(path, path) or self.trusts(ca_of(config, state, tried=True))

        async def switch(_path: Path, _within_s: float) -> None:
            return None

        return Renewal(
            state,
            child=child,
            ask=ask,
            try_out=try_out,
            switch=switch,
            changed=lambda: None,
            log=structlog.get_logger(),
            clock=clock,
            chance=lambda: chance,
        )

    async def rotate(self, trust: Authority) -> None:
        """As the daemon does."""
        self.own.trust(trust)
        await self.own.care(moment())
        if not trust.rotates:  # it is started again
            self.broker._issue(moment())

    def say_plans(self) -> None:
        """To who is there: which CAs are trusted; and what they say of theirs."""
        heard = {name: held for name, agent in self.agents.items() if name not in self.away and (held := agent.held)}
        for name in heard:
            self.agents[name].trust(self.rotation.trust)
        self.rotation.keep({name: (held.ca, held.trust) for name, held in heard.items()})

    def trusts(self, ca: Path) -> str:
        """Why the broker's certificate is none to who trusts these, "" when it is."""
        return self.shows(self.pki / "broker.pem", self.pki / "broker.key", ca)

    async def post(self, agent: str, answer: Renewed) -> None:
        if agent not in self.away:
            self.agents[agent].answer(answer)

    def shows(self, certificate: Path, key: Path, ca: Path | None = None) -> str:
        """Why a connection with these fails now, "" when it does not. `ca` is who is trusted; None: who the PKI says."""
        trusted = (ca or self.pki / "ca.pem").read_bytes()
        starts, ends = self.valid(certificate.read_bytes(), key.read_bytes(), trusted)
        return "" if starts <= moment() <= ends else f"{certificate.parent.name}/{certificate.name} at {moment()}"

    def valid(self, certificate: bytes, key: bytes, trusted: bytes) -> tuple[dt.datetime, dt.datetime]:
        """From when until when; of a CA that is trusted, as long as that is valid, and for this key."""
        if (certificate, trusted) not in self.seen:
            held = x509.load_pem_x509_certificate(certificate)
            (ca,) = [each for each in x509.load_pem_x509_certificates(trusted) if is_issued_by(each, held)]
            assert serialization.load_pem_private_key(key, password=None).public_key() == held.public_key()
            ends = min(held.not_valid_after_utc, ca.not_valid_after_utc)
            self.seen[certificate, trusted] = held.not_valid_before_utc, ends
        return self.seen[certificate, trusted]

    def problems(self) -> list[str]:
        """Of whoever is there: why it could not connect again now."""
        found = [
            self.shows(self.pki / f"{holder}.pem", self.pki / f"{holder}.key") for holder in ("coordinator", "broker")
        ]
        for name in CHANCES:
            state = self.directory / name
            file = state / "renewed.pem"
            if name not in self.away:
                ca = state / "trust.pem"
                found.append(self.trusts(ca if ca.exists() else state / "ca.pem"))
                found.append(
                    self.shows(*((file, file) if file.exists() else (state / "agent.pem", state / "agent.key")))
                )
        return list(filter(None, found))

    async def live(self, at_times: Callable[[], None], days: float = DAYS) -> list[str]:
        """All problems of these days."""
        found: list[str] = []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run(), name=name) for name, one in self.agents.items()]
            tasks.append(group.create_task(self.signing.run(), name="signing"))
            while virtual.now() < days * DAY_S:
                await asyncio.sleep(STEP_S)
                await self.own.care(moment())
                at_times()
                await self.rotation.look()
                self.say_plans()
                found += self.problems()
            for task in tasks:
                task.cancel()
        return found


def test_a_year_needs_nobody_though_agents_are_away_for_a_month_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the worst moment: just before they would have renewed their certificates."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    estate, left = Estate(tmp_path), dict[str, float]()

    def leave_and_come_back() -> None:
        for name, chance in (("dev-1", 0.0), ("dev-3", 1.0)):
            held = estate.agents[name].held
            assert held is not None
            due = renew_at(held.starts, held.ends, chance)
            if name not in left and virtual.now() > 150 * DAY_S and due - clock() < STEP_S:
                left[name] = virtual.now()
                estate.away.add(name)
            elif name in left and virtual.now() - left[name] >= MONTH_S:
                estate.away.discard(name)

    with capture_logs() as said:
        problems = virtual.run(estate.live(leave_and_come_back), (DAYS + 1) * DAY_S)
    assert set(left) == {"dev-1", "dev-3"}
    assert not estate.away
    assert not problems
    renewed = [entry["holder"] for entry in said if entry["event"] == "a certificate of its own is renewed"]
    assert {holder: renewed.count(holder) for holder in renewed} == {"coordinator": 6, "broker": 6}
    assert all(estate.granted.count(name) >= 5 for name in CHANCES)


def test_beyond_the_life_of_a_ca_nothing_is_asked_of_a_person_but_rotate_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 300 days, rotated while an agent is away; the old one is given up when it has come over, before its end."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("coordinator.broker.authority.make", partial(authority.make, life=dt.timedelta(days=300)))
    estate, done, refused = Estate(tmp_path), list[str](), set[str]()

    def care_for_the_ca() -> None:
        day = virtual.now() / DAY_S
        if day > 200 and not done:
            done.append("begun")
            estate.away.add("dev-2")
            rotation.begin(estate.pki, moment())
        if day > 225:
            estate.away.discard("dev-2")
        if len(done) == 1 and day > 202:
            try:
                rotation.finish(estate.pki, CHANCES)
                done.append(f"finished on day {day:.0f}")
            except pki.PkiError as error:
                refused.add(str(error).partition(". One that runs")[0])

    with capture_logs():
        problems = virtual.run(estate.live(care_for_the_ca, 400), 401 * DAY_S)
    assert not problems
    why = "these would be shut out: dev-2"
    assert refused == {
        f"{why} was not heard of since the new CA is there",
        f"{why} still has a certificate of the old CA",
    }
    assert done[1] in {"finished on day 226", "finished on day 225"}
    (ca,) = x509.load_pem_x509_certificates((estate.pki / "ca.pem").read_bytes())
    for name in CHANCES:
        held = estate.agents[name].held
        assert held is not None
        assert held.trust == estate.rotation.trust
        assert x509.load_pem_x509_certificates((tmp_path / name / "trust.pem").read_bytes()) == [ca]
