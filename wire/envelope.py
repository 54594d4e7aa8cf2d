"""What is put around a message: a version byte, a codec byte, then msgpack, compressed or not.

Everything that comes from outside is bounded before it is believed: the message, what it decompresses to, its types.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Any, TypeVar

import msgspec
import zstandard

from reachability.texts import printable
from wire.bounds import checked
from wire.codec import decoder, encode
from wire.columns import BatchOnWire, encode_batch, read_batch
from wire.messages import SCHEMA, Armed, Batch, Done, Renew, Resolved, Status

HEADER = 2
MOST_MESSAGE_BYTES = 4 * 1024 * 1024  # what a receiver takes, and the broker carries
MOST_BYTES = 16 * 1024 * 1024  # after decompression
MOST_SMALL_BYTES = 1024 * 1024  # the same, of what is no batch
WORTH_COMPRESSING = 512
MOST_WORDS = 500  # of an error, which may quote what is wrong

_BATCH, _MAP_16 = b"\xa4type\xa5batch", 0xDE

T = TypeVar("T")
AnyUp = Status | Batch | Resolved | Armed | Done | Renew


class Codec(IntEnum):
    """How the msgpack behind the header is compressed."""

    NONE = 0
    ZSTD = 1


class BadMessage(Exception):  # noqa: N818 - reads as what it is
    """A message that cannot be taken; the text says why, for people, and holds nothing that a terminal would obey."""

    def __init__(self, text: str) -> None:
        shown = printable(text[: MOST_WORDS + 1])
        super().__init__(shown if len(shown) <= MOST_WORDS else f"{shown[: MOST_WORDS - 1]}…")


class OtherVersion(BadMessage):
    """A message of a schema version that this program does not speak."""


def seal(body: bytes) -> bytes:
    """Put the header around msgpack, compressed where that is worth it; ValueError when it is too large to be taken."""
    if len(body) > MOST_BYTES:
        msg = f"a message of {len(body)} bytes is larger than the {MOST_BYTES} that are taken"
        raise ValueError(msg)
    codec = Codec.ZSTD if len(body) >= WORTH_COMPRESSING else Codec.NONE
    if codec is Codec.ZSTD:
        body = zstandard.ZstdCompressor(level=3).compress(body)
    if len(body) > MOST_MESSAGE_BYTES:
        msg = f"a message of {len(body)} bytes is larger than the {MOST_MESSAGE_BYTES} that a broker carries"
        raise ValueError(msg)
    return bytes((SCHEMA, codec)) + body


def unseal(payload: bytes) -> bytes:
    """The msgpack in a message; BadMessage for another version or codec, a bomb, or a broken frame."""
    if len(payload) < HEADER:
        msg = f"a message of {len(payload)} bytes has no header"
        raise BadMessage(msg)
    if len(payload) > MOST_MESSAGE_BYTES:
        msg = f"a message of {len(payload)} bytes is larger than the {MOST_MESSAGE_BYTES} that are taken"
        raise BadMessage(msg)
    version, codec = payload[0], payload[1]
    if version != SCHEMA:
        msg = f"the message has schema version {version}, this segwatch speaks {SCHEMA}: upgrade the older of the two"
        raise OtherVersion(msg)
    body = payload[HEADER:]
    match codec:
        case Codec.NONE:
            return body
        case Codec.ZSTD:
            return _decompress(body)
        case _:
            msg = f"the message has codec {codec}; 0 (none) and 1 (zstd) are known"
            raise BadMessage(msg)


def pack_up(message: AnyUp) -> bytes:
    """A message of an agent, as it is published."""
    return seal(encode_batch(message) if isinstance(message, Batch) else encode(message))


def unpack_up(payload: bytes) -> AnyUp:
    """Read a message of an agent; BadMessage says what is wrong with it."""
    body = unseal(payload)
    if len(body) > MOST_SMALL_BYTES and not _is_batch(body):
        raise BadMessage(f"a message of {len(body)} bytes is no batch: {MOST_SMALL_BYTES} are taken")
    message = decode(_up_decoder(), body)
    try:
        return read_batch(message) if isinstance(message, BatchOnWire) else checked(message)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors too
        msg = f"the message cannot be read: {error}"
        raise BadMessage(msg) from error


def decode(reader: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    """Decode msgpack into a checked type; BadMessage says where it does not fit."""
    try:
        return reader.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        msg = f"the message cannot be read: {error}"
        raise BadMessage(msg) from error


def _is_batch(body: bytes) -> bool:
    """By what a batch begins with: a map (`fixmap`, `map 16`) whose first key is its type."""
    return body.startswith(_BATCH, 3 if body[0] == _MAP_16 else 1)


@cache
def _up_decoder() -> msgspec.msgpack.Decoder[Any]:
    return decoder(Status | BatchOnWire | Resolved | Armed | Done | Renew)


def _decompress(body: bytes) -> bytes:
    # The size in the frame is the sender's word: it may be missing or wrong, so the output itself is bounded.
    try:
        with zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(body) as reader:
            data = reader.read(MOST_BYTES + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        msg = f"the message cannot be decompressed: {error}"
        raise BadMessage(msg) from error
    if len(data) > MOST_BYTES:
        msg = f"the message decompresses to more than {MOST_BYTES} bytes"
        raise BadMessage(msg)
    return data
