"""A way into the lab: what connects to a socket of this machine's loopback gets to a port of the lab's.

The socket was made outside and stays there; this process takes its connections from within. Nothing goes the other way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

USUAL = 8600


def listening() -> socket.socket:
    """A socket on 127.0.0.1: at the port that is in the documentation, or at any where somebody else has that."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", USUAL))
    return socket.create_server(("127.0.0.1", 0))


async def hand_on(outside: socket.socket, host: str, port: int) -> None:
    """Hand everything on, both ways, for ever."""

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, inner_writer), name="into the lab")
                group.create_task(_copy(inner_reader, writer), name="out of it")
        writer.close()

    server = await asyncio.start_server(through, sock=outside)
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    where, _, number = sys.argv[1].rpartition(":")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(hand_on(socket.socket(fileno=0), where, int(number)))
