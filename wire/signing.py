"""Signed messages, both ways: a broker that was captured can hold them back, and no more.

An agent obeys nobody but the coordinator whose key its bundle pins; the coordinator believes an agent by a key that the
agent's certificate vouches for. Layout: version, codec, 64 bytes of Ed25519 signature, then msgpack (down: a `SignedOrder`). The
signature covers header and msgpack; down it is checked before anything is decompressed or decoded. Whether an order is new
is for `agent.challenges` to say.
"""

from __future__ import annotations

from functools import cache

import msgspec
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from wire.bounds import checked
from wire.codec import decoder, encode
from wire.envelope import HEADER, BadMessage, decode, seal, unseal
from wire.messages import Ack, Arm, Close, Down, Go, Plan, Renewed, Resolve, Stop
from wire.topics import DownChannel

SIGNATURE = 64
# So that no key signs anything that means something elsewhere.
DOWN, UP, PROOF = b"segwatch down v1\0", b"segwatch up v1\0", b"segwatch up key v1\0"
LIFETIME_S = 60.0  # how long a message may be on its way, at most

AnyDown = Down | Ack


class Refused(BadMessage):
    """A message down that is not obeyed; the text says why."""


class Replayed(Refused):
    """A message that was taken before, or is older than one that was: a redelivery, or someone who plays it again."""


class SignedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. `echo` is the newest challenge that the coordinator has of the agent.

    `issued` and `expires` are seconds since the epoch by the coordinator's clock, which no agent trusts: what lies between
    them counts.
    """

    agent: str
    sequence: int
    issued: float
    expires: float
    body: AnyDown
    echo: bytes = b""


def channel_of(body: AnyDown) -> DownChannel:
    """The channel that a message goes by. Sequences rise in each channel: a broker keeps no order between topics."""
    match body:
        case Plan():
            return DownChannel.PLAN
        case Ack():
            return DownChannel.ACK
        case Resolve() | Arm() | Go() | Close() | Stop() | Renewed():
            return DownChannel.ROUND


def next_sequence(last: int, now: float) -> int:
    """The sequence after `last`: at least the time in milliseconds, so that one that lost its store goes on above."""
    return max(last + 1, int(now * 1000))


def pack_down(
    key: SigningKey,
    agent: str,
    sequence: int,
    body: AnyDown,
    now: float,
    *,
    echo: bytes = b"",
    expires_s: float = LIFETIME_S,
) -> bytes:
    """A signed message for one agent; `now` is the coordinator's clock, seconds since the epoch."""
    order = SignedOrder(agent=agent, sequence=sequence, issued=now, expires=now + expires_s, body=body, echo=echo)
    sealed = seal(encode(order))
    return _signed(key, DOWN, sealed)


def open_down(key: VerifyKey, payload: bytes, *, agent: str) -> SignedOrder:
    """Check and read a signed message; Refused says why not. The caller sees to it that the order is new."""
    sealed, signature = split(payload)
    if not _is_signed(key, DOWN, sealed, signature):
        raise Refused("a message is unsigned, altered or signed by a key other than that of this agent's bundle")
    order = _checked(decode(_decoder(), unseal(sealed)))
    if order.agent != agent:
        raise Refused(f"a message for agent '{order.agent}' came to '{agent}'")
    return order


def _checked(order: SignedOrder) -> SignedOrder:
    try:
        return checked(order)  # type: ignore[no-any-return]
    except ValueError as error:
        raise Refused(f"a message makes no sense: {error}") from error


def sign_up(key: SigningKey, sealed: bytes) -> bytes:
    """A message of an agent's (`wire.envelope.pack_up`), signed."""
    return _signed(key, UP, sealed)


def is_signed_up(key: VerifyKey, sealed: bytes, signature: bytes) -> bool:
    """Whether an agent's message, as `split` gives it, is signed by the key."""
    return _is_signed(key, UP, sealed, signature)


def split(payload: bytes) -> tuple[bytes, bytes]:
    """A signed message as (what was sealed, signature); BadMessage where it cannot be one, OtherVersion before all else."""
    if len(payload) < HEADER + SIGNATURE:
        raise Refused(f"a message of {len(payload)} bytes is not signed")
    unseal(bytes((payload[0], 0)))
    return payload[:HEADER] + payload[HEADER + SIGNATURE :], payload[HEADER : HEADER + SIGNATURE]


def read_verify_key(text: str) -> VerifyKey:
    """The coordinator's public key as `coordinator.pub` holds it (hex); ValueError when it is not one."""
    try:
        return VerifyKey(bytes.fromhex(text.strip()))
    except (ValueError, CryptoError) as error:
        raise ValueError("not an Ed25519 public key of 64 hex digits") from error


def _signed(key: SigningKey, context: bytes, sealed: bytes) -> bytes:
    return sealed[:HEADER] + key.sign(context + sealed).signature + sealed[HEADER:]


def _is_signed(key: VerifyKey, context: bytes, sealed: bytes, signature: bytes) -> bool:
    try:
        key.verify(context + sealed, signature)
    except BadSignatureError:
        return False
    return True


@cache
def _decoder() -> msgspec.msgpack.Decoder[SignedOrder]:
    return decoder(SignedOrder)
