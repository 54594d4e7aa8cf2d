"""What travels when a host enrols itself: a one-time token by hand, a request and its answer by the broker.

The token names the CA, so that TLS authenticates the broker before anything is said, and holds two keys that are never
sent: the one of a certificate that opens nothing but the way of joining, and the one that signs the request, so that no
broker can put another host's key into it. The coordinator signs the answer.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeVar

import msgspec
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from wire.topics import NAME

URI = "segwatch://join"  # the user behind every token
ASK = "segwatch/join/v1/ask"
ANSWERS = "segwatch/join/v1/answer"  # below it the nonce of the request
MOST_TOKEN, MOST_BODY = 16 * 1024, 128 * 1024  # bytes
SIGNATURE, NONCE, KEY = 64, 16, 32
_NOT_WHOLE = "the token is not whole: copy it again, all of its line"
_START = "segwatch-join-1."
_ASK, _ANSWER = b"segwatch join ask v1\0", b"segwatch join answer v1\0"
_HOST = re.compile(r"([a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*)?\Z")
T = TypeVar("T", bound=msgspec.Struct)


class BadJoin(ValueError):  # noqa: N818 - reads as what it is
    """A token, request or answer that is not taken; the text says why."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What `segwatch pki join-token` prints. `ca` and `certificate` are PEM, `key` is too; `expires` is epoch seconds."""

    id: str
    agent: str
    environment: str
    ca: bytes
    certificate: bytes
    key: bytes
    seed: bytes
    coordinator: bytes
    server_name: str
    broker: str = ""
    expires: float = 0.0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request: the certificate's is PKCS #10 in DER, `broker` is the URL by which the host reaches it."""

    token: str
    agent: str
    nonce: bytes
    request: bytes
    broker: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate (PEM), the configuration (YAML) and the CAs to trust (PEM; b"": the token's), or why there are none."""

    nonce: bytes
    problem: str = ""
    certificate: bytes = b""
    configuration: bytes = b""
    trust: bytes = b""


def write_token(token: Token) -> str:
    """One line."""
    return _START + base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode()


def read_token(text: str) -> Token:
    """BadJoin for what is not a whole token."""
    line = text.strip()
    if not line.startswith(_START) or len(line) > MOST_TOKEN:
        raise BadJoin("it is not a token of segwatch pki join-token")
    try:
        token = msgspec.msgpack.decode(base64.urlsafe_b64decode(line.removeprefix(_START)), type=Token)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadJoin(_NOT_WHOLE) from error
    if not (NAME.match(token.agent) and NAME.match(token.environment)):
        raise BadJoin("the token names no agent")
    if not (len(token.seed) == len(token.coordinator) == KEY and _HOST.match(token.server_name)):
        raise BadJoin(_NOT_WHOLE)
    return token


def sign_ask(key: SigningKey, ask: Ask) -> bytes:
    """The payload of a request."""
    return _signed(key, _ASK, ask)


def read_ask(payload: bytes) -> Ask:
    """What is asked for, not to be believed before `check_ask`."""
    return _decoded(payload, Ask)


def check_ask(payload: bytes, key: bytes) -> None:
    """BadJoin unless the key (Ed25519, public) signed it."""
    _check(payload, _ASK, key)


def sign_answer(key: SigningKey, answer: Answer) -> bytes:
    """The payload of an answer."""
    return _signed(key, _ANSWER, answer)


def read_answer(payload: bytes, key: bytes, nonce: bytes) -> Answer:
    """BadJoin unless the coordinator signed it, for this request."""
    _check(payload, _ANSWER, key)
    answer = _decoded(payload, Answer)
    if answer.nonce != nonce:
        raise BadJoin("the answer is to another request")
    return answer


def _signed(key: SigningKey, what: bytes, message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return key.sign(what + body).signature + body


def _check(payload: bytes, what: bytes, key: bytes) -> None:
    try:
        VerifyKey(key).verify(what + payload[SIGNATURE:], payload[:SIGNATURE])
    except (CryptoError, ValueError, TypeError) as error:
        raise BadJoin("the signature is not of the key that belongs to the token") from error


def _decoded(payload: bytes, kind: type[T]) -> T:
    if not SIGNATURE < len(payload) <= MOST_BODY:
        raise BadJoin(f"it has {len(payload)} bytes")
    try:
        return msgspec.msgpack.decode(payload[SIGNATURE:], type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BadJoin(f"it cannot be read: {error}") from error
