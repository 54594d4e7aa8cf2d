"""Signed messages down: an agent obeys nobody but the coordinator whose key its bundle pins, and each message once.

Layout: version, codec, 64 bytes of Ed25519 signature, then msgpack of a `Letter`. The signature covers header and
letter and is checked before anything is decompressed or decoded.
"""

from __future__ import annotations

from functools import cache

import msgspec
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from wire.envelope import HEADER, BadMessage, decode, seal, unseal
from wire.messages import Ack, Arm, Close, Down, Go, Plan, Resolve, Stop
from wire.topics import DownChannel

SIGNATURE = 64
CONTEXT = b"segwatch down v1\0"  # so that the key signs nothing that means something elsewhere
SKEW_S = 15 * 60.0  # how far the clocks of agent and coordinator may be apart

AnyDown = Down | Ack


class Refused(BadMessage):
    """A message down that is not obeyed; the text says why."""


class Replayed(Refused):
    """A message whose sequence was seen before: a redelivery of the broker's, or someone who plays it again."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. `issued` and `expires` are seconds since the epoch, by the coordinator's clock."""

    agent: str
    sequence: int
    issued: float
    expires: float
    body: AnyDown


def channel_of(body: AnyDown) -> DownChannel:
    """The channel that a message goes by. Sequences rise in each channel: a broker keeps no order between topics."""
    match body:
        case Plan():
            return DownChannel.PLAN
        case Ack():
            return DownChannel.ACK
        case Resolve() | Arm() | Go() | Close() | Stop():
            return DownChannel.ROUND


def next_sequence(last: int, now: float) -> int:
    """The sequence after `last`: at least the time in milliseconds, so that a lost state does not brick the agents."""
    return max(last + 1, int(now * 1000))


def lifetime_s(body: AnyDown) -> float:
    """How long a message may be on its way, clocks in step."""
    return 86400.0 if isinstance(body, Plan) else 60.0


def pack_down(
    key: SigningKey, agent: str, sequence: int, body: AnyDown, now: float, *, expires_s: float | None = None
) -> bytes:
    """A signed message for one agent; `now` is the coordinator's clock, seconds since the epoch."""
    lifetime = lifetime_s(body) if expires_s is None else expires_s
    letter = Letter(agent=agent, sequence=sequence, issued=now, expires=now + lifetime, body=body)
    sealed = seal(msgspec.msgpack.encode(letter))
    return sealed[:HEADER] + key.sign(CONTEXT + sealed).signature + sealed[HEADER:]


def open_down(key: VerifyKey, payload: bytes, *, agent: str, now: float) -> Letter:
    """Check and read a signed message; Refused says why not. The caller holds the sequence against its own record."""
    if len(payload) < HEADER + SIGNATURE:
        raise Refused(f"a message of {len(payload)} bytes is not signed")
    unseal_version(payload)
    sealed = payload[:HEADER] + payload[HEADER + SIGNATURE :]
    try:
        key.verify(CONTEXT + sealed, payload[HEADER : HEADER + SIGNATURE])
    except BadSignatureError:
        raise Refused(
            "a message is unsigned, altered or signed by another key than that of this agent's bundle"
        ) from None
    letter = decode(_decoder(), unseal(sealed))
    if letter.agent != agent:
        raise Refused(f"a message for agent '{letter.agent}' came to '{agent}'")
    if now > letter.expires + SKEW_S:
        raise Refused(f"a message expired {now - letter.expires:.0f} s ago by this host's clock")
    if letter.issued > now + SKEW_S:
        raise Refused(f"a message was issued {letter.issued - now:.0f} s ahead of this host's clock: check both clocks")
    return letter


def check_sequence(letter: Letter, highest: int) -> None:
    """Replayed unless the sequence is above the highest that this agent took by the same channel."""
    if letter.sequence <= highest:
        raise Replayed(f"a message was replayed: sequence {letter.sequence}, {highest} was taken already")


def unseal_version(payload: bytes) -> None:
    """BadMessage for a version that this program does not speak, before its signature is doubted."""
    unseal(bytes((payload[0], 0)))


def read_verify_key(text: str) -> VerifyKey:
    """The coordinator's public key as `coordinator.pub` holds it (hex); ValueError when it is not one."""
    try:
        return VerifyKey(bytes.fromhex(text.strip()))
    except (ValueError, CryptoError) as error:
        raise ValueError("not an Ed25519 public key of 64 hex digits") from error


@cache
def _decoder() -> msgspec.msgpack.Decoder[Letter]:
    return msgspec.msgpack.Decoder(Letter)
