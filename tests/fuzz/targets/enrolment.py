"""How hosts get certificates: the token, a request to join and its answer, the request for a certificate, and what is granted."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import os
import shutil
import ssl
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey, VerifyKey

from agent.config import AgentConfig
from agent.joining import JoinError, _check
from coordinator.broker import enrolment, join_tokens, pki
from coordinator.messaging.joins import Joins
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.fuzz.target import Fault, Shape, Target
from tests.fuzz.targets import identity
from tests.fuzz.targets.messages import assert_readable
from wire import joining
from wire.certificate_request import pem
from wire.certificates import agent_uri
from wire.topics import NAME

_CONTEXT = ssl.create_default_context()
SEED, COORDINATOR = SigningKey(b"\6" * 32), SigningKey(b"\7" * 32)
NOW = identity.FROM + dt.timedelta(days=1)
NONCE = bytes(range(joining.NONCE))
CONFIG = AgentConfig(name="dev-1", environment="dev", broker="mqtts://192.0.2.1:8883")
TOPOLOGY = Topology({"dev": Environment("dev", (), {"dev-1": DeclaredAgent("dev-1")})})
TOKEN = joining.Token(
    id="a1", agent="dev-1", environment="dev", ca=identity.CA, certificate=b"certificate", key=b"key",
    seed=bytes(SEED), coordinator=bytes(COORDINATOR.verify_key), server_name=pki.BROKER_NAME,
)  # fmt: skip
_RECORD = join_tokens.Record(
    id="a1", environment="dev", key=bytes(SEED.verify_key).hex(), expires=NOW.timestamp() + 60, generation=0
)


@cache
def directory() -> Path:
    """Keys of a coordinator and of an agent, in memory where there is such a place: each write is synced."""
    shm = Path("/dev/shm")
    made = Path(
        tempfile.mkdtemp(prefix="segwatch-fuzz", dir=os.environ.get("TMPDIR") or (shm if shm.is_dir() else None))
    )
    (made / join_tokens.DIRECTORY).mkdir()
    files = {"ca.pem": identity.CA, "ca.key": pem(identity._AUTHORITY), "coordinator.pem": b"", "coordinator.key": b""}
    files |= {pki.SIGNING_KEY: bytes(COORDINATOR).hex().encode(), "coordinator.pub": b""}
    for name, data in files.items():
        (made / name).write_bytes(data)
        (made / name).chmod(0o600)
    return made


def forget() -> None:
    """Remove it."""
    if directory.cache_info().currsize:
        shutil.rmtree(directory(), ignore_errors=True)
        directory.cache_clear()


def token(data: bytes) -> None:
    """One that is taken can be used: nothing in it ends a join with anything but words."""
    for text in (data.decode("latin-1"), "segwatch-join-1." + base64.urlsafe_b64encode(data).decode()):
        try:
            taken = joining.read_token(text)
        except joining.BadJoin as error:
            assert_readable(error)
            continue
        assert NAME.match(taken.agent)
        assert NAME.match(taken.environment)
        SigningKey(taken.seed)
        VerifyKey(taken.coordinator)
        if taken.server_name:
            _CONTEXT.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=taken.server_name)


def _tokens() -> list[bytes]:
    changed = [
        {"agent": "../x"}, {"environment": ""}, {"seed": b"short"}, {"coordinator": b""}, {"server_name": ".x"},
        {"server_name": "a\0b"}, {"server_name": ""}, {"server_name": "a" * 64},
    ]  # fmt: skip
    made = [msgspec.msgpack.encode(msgspec.structs.replace(TOKEN, **one)) for one in changed]  # type: ignore[arg-type]
    ends = (_deep(TOKEN), b"segwatch-join-1.%", b"", b"segwatch-join-1." + b"A" * 16400)
    return [msgspec.msgpack.encode(TOKEN), *made, *ends]


def _deep(message: msgspec.Struct) -> bytes:
    """With a field that is unknown, and a thousand lists in one another."""
    whole = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    return bytes([0x80 + len(whole) + 1]) + msgspec.msgpack.encode(whole)[1:] + b"\xa1x" + b"\x91" * 1200 + b"\x90"


def join(data: bytes) -> None:
    """A request to join: signed with the token it gets a certificate for its own key and name, once, else words or nothing."""
    for payload, is_signed in ((SEED.sign(joining._ASK + data).signature + data, True), (data, False)):
        answer, again, others = _answered(payload, payload, _OTHERS)
        if answer is None:
            continue
        assert len(answer.nonce) == joining.NONCE
        if answer.problem:
            assert_readable(ValueError(answer.problem))
            assert not answer.certificate
            continue
        assert is_signed or data in _SIGNED, "enrolled by who has no token"
        ask = joining.read_ask(payload)
        assert (ask.token, ask.agent) == ("a1", "dev-1")
        _assert_granted(answer.certificate, ask.request)
        assert again == answer, "the same key has the same certificate"
        assert others is not None
        assert others.certificate == (answer.certificate if ask.request == identity.request(identity.OTHER) else b"")
        assert len(joining.sign_answer(COORDINATOR, answer)) <= joining.MOST_BODY


def _answered(*payloads: bytes) -> list[joining.Answer | None]:
    """What is said to these, one after the other, where a token waits that nobody has used."""
    held = directory()
    for name in (enrolment.ENROLLED, pki.REVOKED):
        (held / name).unlink(missing_ok=True)
    for agent in ("dev-1", "prod-1"):
        (held / join_tokens.DIRECTORY / f"{agent}.json").write_bytes(msgspec.json.encode(_RECORD))
    with patch.object(asyncio, "to_thread", _at_once), patch.object(enrolment, "write_private", write), \
            patch.object(join_tokens, "write_private", write):  # fmt: skip
        return [_loop().run_until_complete(_joins().answer(payload)) for payload in payloads]


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _joins() -> Joins:
    settings: Any = SimpleNamespace(pki=directory(), certificate_life=pki.AGENT_LIFE)
    estate: Any = SimpleNamespace(topology=TOPOLOGY, clock=NOW.timestamp)
    broker: Any = None
    return Joins(settings, broker, estate)


def _assert_granted(certificate: bytes, request: bytes) -> None:
    """It is for the key of the request, which is signed with it, and for dev-1 as a client alone."""
    made, asked = x509.load_pem_x509_certificate(certificate), x509.load_der_x509_csr(request)
    key = asked.public_key()
    assert asked.is_signature_valid
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert made.public_key() == key
    assert [(each.oid, each.value) for each in asked.subject] == list(identity.NAMED)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [agent_uri("dev", "dev-1")]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _ask(**more: Any) -> joining.Ask:
    whole = {
        "token": "a1",
        "agent": "dev-1",
        "nonce": NONCE,
        "request": identity.request(),
        "broker": CONFIG.broker,
        **more,
    }
    return joining.Ask(**whole)


def _asks() -> list[bytes]:
    changed: list[dict[str, Any]] = [
        {}, {"token": "a2"}, {"agent": "prod-1"}, {"agent": "../x"}, {"nonce": b""}, {"broker": "x\x1b"}, {"request": b"0"},
        {"broker": "mqtts://h"}, {"request": bytes(pki.MOST_REQUEST + 1)}, *({"request": one} for one in identity.requests()),
    ]  # fmt: skip
    asks = [_ask(**one) for one in changed]
    return [*map(msgspec.msgpack.encode, asks), *_SIGNED, _deep(_ask()), b"", bytes(joining.MOST_BODY)]


def answer(data: bytes) -> None:
    """What the coordinator signed, and nobody else; the certificate in it is looked at."""
    assert data in _SIGNED_ANSWERS or _read(data) is None, "what nobody signed was read"
    read = _read(COORDINATOR.sign(joining._ANSWER + data).signature + data)
    if read is not None:
        assert read.nonce == NONCE
        is_taken(read.certificate)


def _read(payload: bytes) -> joining.Answer | None:
    try:
        return joining.read_answer(payload, TOKEN.coordinator, NONCE)
    except joining.BadJoin as error:
        assert_readable(error)
        return None


def is_taken(certificate: bytes) -> bool:
    """Whether a host that enrols itself takes it, as one that is for its key alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of what a certificate should not hold
        try:
            _check(TOKEN.ca, certificate, identity.HOST)
        except JoinError as error:
            assert_readable(error)
            return False
        assert x509.load_pem_x509_certificate(certificate).public_key() == identity.HOST.public_key()
        return True


def _answers() -> list[bytes]:
    made = [joining.Answer(nonce=NONCE, certificate=identity.in_pem(one)) for one in identity.certificates()]
    made += [joining.Answer(nonce=NONCE, problem="no"), joining.Answer(nonce=b"x")]
    return [*map(msgspec.msgpack.encode, made), *_SIGNED_ANSWERS, _deep(made[-1]), b""]


def renewal(data: bytes) -> None:
    """A request for a certificate, in an agent's own name: granted as it should be, or refused in words."""
    try:
        issued = pki.sign_request(directory(), agent_uri("dev", "dev-1"), data, NOW)
    except pki.RequestRefused as error:
        assert_readable(error)
        return
    assert len(data) <= 4096
    _assert_granted(issued.certificate, data)


_SIGNED = {joining.sign_ask(SEED, _ask())}
_OTHERS = joining.sign_ask(SEED, _ask(request=identity.request(identity.OTHER)))
_SIGNED_ANSWERS = {
    joining.sign_answer(COORDINATOR, joining.Answer(nonce=NONCE, certificate=identity.in_pem(identity.certificate())))
}

TARGETS = (
    Target(
        "token", token, _tokens, {"wire/joining.py": ("read_token",)},
        (
            Fault("wire.joining:read_token", "(binascii.Error, ValueError, RecursionError)", "(binascii.Error, ValueError)"),
            Fault("wire.joining:read_token", "len(token.seed) == len(token.coordinator) == KEY and ", ""),
            Fault("wire.joining:read_token", " and _HOST.match(token.server_name)", ""),
            Fault("wire.joining:read_token", "    if not (NAME.match(token.agent) and NAME.match(token.environment)):", "    if False:"),
        ),
        Shape.MSGPACK, share=8,
    ),
    Target(
        "join", join, _asks,
        {"wire/joining.py": ("read_ask", "check_ask", "_check", "_decoded"), "coordinator/messaging/joins.py": ("Joins.answer",), "coordinator/broker/join_tokens.py": ("redeem", "_asker")},
        (
            Fault("wire.joining:_decoded", "    except (ValueError, RecursionError) as error:", "    except ValueError as error:"),
            Fault("wire.joining:_check", "    except (CryptoError, ValueError, TypeError) as error:", "    except KeyError as error:"),
            Fault("coordinator.messaging.joins:Joins.answer", "len(ask.nonce) != joining.NONCE or ", ""),
            Fault("coordinator.messaging.joins:Joins.answer", "            parse_url(ask.broker)\n", ""),
            Fault("coordinator.broker.join_tokens:redeem", "        joining.check_ask(payload, bytes.fromhex(record.key))", "        pass"),
            Fault("coordinator.broker.join_tokens:redeem", "if record is None or record.id != ask.token:", "if record is None:"),
            Fault("coordinator.broker.join_tokens:_asker", "    except UNREADABLE as error:", "    except KeyError as error:"),
        ),
        Shape.MSGPACK,
        share=1,
    ),
    Target(
        "answer", answer, _answers,
        {"wire/joining.py": ("read_answer", "_check", "_decoded"), "agent/joining.py": ("_check",)},
        (
            Fault("wire.joining:read_answer", "    _check(payload, _ANSWER, key)\n", ""),
            Fault("wire.joining:read_answer", "    if answer.nonce != nonce:", "    if False:"),
            Fault("agent.joining:_check", "    except UNREADABLE as error:", "    except (ValueError, TypeError) as error:"),
            Fault("agent.joining:_check", "    if not own:", "    if False:"),
        ),
        Shape.MSGPACK,
        share=4,
    ),
    Target(
        "renewal", renewal, identity.requests, {"coordinator/broker/pki.py": ("sign_request",)},
        (
            Fault("coordinator.broker.pki:sign_request", "    if len(request) > MOST_REQUEST:", "    if False:"),
            Fault("coordinator.broker.pki:sign_request", "    except UNREADABLE as error:", "    except (ValueError, TypeError) as error:"),
            Fault("coordinator.broker.pki:sign_request", "    if not signed:", "    if False:"),
            Fault("coordinator.broker.pki:sign_request", "    if named != _subject(agent_uri(environment, agent)):", "    if False:"),
            Fault("coordinator.broker.pki:sign_request", "'{printable(words)[:200]}'", "'{words}'"),
            Fault("coordinator.broker.pki:sign_request", "    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):", "    if False:"),
        ),
        share=2,
    ),
)  # fmt: skip
