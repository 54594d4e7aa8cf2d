"""What hosts that enrol themselves are answered."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.broker import pki
from coordinator.broker.join_tokens import make
from coordinator.messaging.joins import MOST, Joins
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.support.joins import NONCE, ask
from wire import joining
from wire.mqtt import Message

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def joins(tmp_path: Path) -> Joins:
    pki.init(tmp_path, NOW)
    topology = Topology({"dev": Environment("dev", (), {"dev-1": DeclaredAgent("dev-1")})})
    settings = SimpleNamespace(pki=tmp_path, certificate_life=pki.AGENT_LIFE)
    estate = SimpleNamespace(topology=topology, clock=NOW.timestamp)
    return Joins(cast("Any", settings), cast("Any", None), cast("Any", estate))


@pytest.fixture
def token(joins: Joins, tmp_path: Path) -> joining.Token:
    assert joins
    return joining.read_token(make(tmp_path, "dev", "dev-1", NOW, dt.timedelta(hours=1)))


@pytest.mark.asyncio
async def test_a_certificate_comes_with_the_configuration(joins: Joins, token: joining.Token) -> None:
    answer = await joins.answer(ask(token, KEY))
    assert answer is not None
    assert (answer.nonce, answer.problem) == (NONCE, "")
    assert b"BEGIN CERTIFICATE" in answer.certificate
    assert b"broker: mqtts://192.0.2.1:8883" in answer.configuration
    assert b"- 192.0.2.1" in answer.configuration


@pytest.mark.asyncio
async def test_a_refusal_is_an_answer_in_words(joins: Joins, token: joining.Token) -> None:
    answer = await joins.answer(ask(token, KEY, name="prod-1"))
    assert answer is not None
    assert "asks for a certificate of" in answer.problem
    assert not answer.certificate


@pytest.mark.asyncio
async def test_what_is_not_a_request_gets_no_answer(joins: Joins, token: joining.Token) -> None:
    for payload in (b"", b"x" * 100, ask(token, KEY, agent="../x"), ask(token, KEY, broker="http://192.0.2.1")):
        assert await joins.answer(payload) is None


class Flood:
    """A link by which requests come for ever."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.answered = 0

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            yield Message(joining.ASK, self.payload, retained=False, done=lambda: None)

    async def publish(self, _topic: str, _payload: bytes) -> None:
        self.answered += 1


@pytest.mark.asyncio
async def test_a_flood_shuts_the_door(joins: Joins, token: joining.Token) -> None:
    flood = Flood(ask(token, KEY))
    assert joins._is_open()
    await joins._answer(cast("Any", flood))
    assert flood.answered == MOST
    assert not joins._is_open()
