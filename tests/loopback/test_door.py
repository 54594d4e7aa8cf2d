"""The way into the lab, here from one port of loopback to another: all of it, both ways, for several at a time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from lab.door import hand_on, listening
from tests.support.waiting import HANG_S


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.asyncio
async def test_everything_is_handed_on_both_ways() -> None:
    async def through(text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        said = await reader.readexactly(len(text))
        writer.close()
        return said

    inside = await asyncio.start_server(_echo, "127.0.0.1", 0)
    outside = listening()
    port = outside.getsockname()[1]
    async with inside, asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        door = group.create_task(hand_on(outside, "127.0.0.1", inside.sockets[0].getsockname()[1]), name="door")
        texts = [bytes([number]) * 300_000 for number in range(3)]
        assert await asyncio.gather(*map(through, texts)) == texts
        door.cancel()


@pytest.mark.asyncio
async def test_where_nobody_is_inside_it_hangs_up_and_goes_on() -> None:
    outside = listening()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        door = group.create_task(hand_on(outside, "127.0.0.1", 1), name="door")
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*outside.getsockname())
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        door.cancel()


def test_a_port_that_somebody_has_is_not_insisted_on() -> None:
    with listening() as first, listening() as second:
        assert first.getsockname()[1] != second.getsockname()[1]
