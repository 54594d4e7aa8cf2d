"""Reads what agents send: what may take long in a thread, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio

from wire.envelope import AnyUp, Codec, unpack_up

LIGHT_BYTES = 4096


def is_light(payload: bytes) -> bool:
    """Whether a message is read in no time. What is compressed may be of any size: 600 bytes were a gigabyte once."""
    return len(payload) <= LIGHT_BYTES and payload[1:2] != bytes((Codec.ZSTD,))


async def read(sealed: bytes) -> AnyUp:
    """The message; BadMessage says what is wrong with it. One that is light is read at once, without a turn of the loop."""
    return unpack_up(sealed) if is_light(sealed) else await asyncio.to_thread(unpack_up, sealed)
