"""Where the reports of a try come together: a connection to the destination, or a person who carries lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from wire.envelope import BadMessage
from wire.trial import Seal, Sent, ToSource

MOST_FRAME = 1024 * 1024
FIRST_S = 10.0  # for the first report of a connection
ANSWER_S = 60.0  # for what a further round takes, or its conclusion
DIAL_S = 1.5
MOST_CALLERS = 16  # at a time, of which nothing is known yet


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection that has shown that it knows the line's key."""

    seal: Seal
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def tell(self, message: Sent | ToSource) -> None:
        """Send a report; ConnectionError when it is gone."""
        data = self.seal.close(message)
        self.writer.write(struct.pack("!I", len(data)) + data)
        await self.writer.drain()

    async def sent(self, within_s: float = ANSWER_S) -> Sent:
        """The source's next report; BadMessage, ConnectionError or TimeoutError."""
        return self.seal.sent(await self._frame(within_s))

    async def told(self, within_s: float = ANSWER_S) -> ToSource:
        """What the destination says next."""
        return self.seal.told(await self._frame(within_s))

    async def close(self) -> None:
        """Hang up, once the other has all."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.writer.wait_closed()

    async def _frame(self, within_s: float) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                (length,) = struct.unpack("!I", await self.reader.readexactly(4))
                if length > MOST_FRAME:
                    raise BadMessage(f"a report of {length} bytes is not one of ours")
                return await self.reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ConnectionError("the other side hung up") from None


class Meeting:
    """Takes connections at the destination. What does not know the key is hung up on without a word."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._servers: list[asyncio.Server] = []
        self._unknown = 0
        self.callers: asyncio.Queue[tuple[Sent, Caller]] = asyncio.Queue()

    async def listen(self, addresses: Iterable[str], port: int) -> None:
        """OSError when the port is taken."""
        for address in addresses:
            self._servers.append(await asyncio.start_server(self._met, address, port, limit=MOST_FRAME))

    def close(self) -> None:
        """Take no more."""
        for server in self._servers:
            server.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._unknown >= MOST_CALLERS:
            writer.close()
            return
        caller = Caller(self._seal, reader, writer)
        self._unknown += 1
        try:
            sent = await caller.sent(FIRST_S)
        except (BadMessage, OSError, TimeoutError):
            writer.close()
        else:
            self.callers.put_nowait((sent, caller))
        finally:
            self._unknown -= 1


async def dial(seal: Seal, places: Iterable[tuple[str, int]]) -> Caller | None:
    """A connection to the first place that takes one; None: none does."""
    for host, port in places:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DIAL_S):
                reader, writer = await asyncio.open_connection(host, port, limit=MOST_FRAME)
            return Caller(seal, reader, writer)
    return None


class Pasted:
    """Lines of standard input as they come. It is read in a thread of its own: a terminal, a pipe and a file are alike there."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._started = False
        self._ended = False

    async def next(self) -> str | None:
        """The next line without its end; None when there will be none."""
        if self._ended:
            return None
        if not self._started:
            self._started = True
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._read, args=(loop,), name="standard input", daemon=True).start()
        line = await self._lines.get()
        self._ended = line is None
        return line

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        rest = b""
        with contextlib.suppress(OSError, RuntimeError):  # no input, or the loop has closed meanwhile
            while data := os.read(self._descriptor, 65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(self._lines.put_nowait, line.decode("utf-8", "replace").strip())
        with contextlib.suppress(RuntimeError):
            if rest:
                loop.call_soon_threadsafe(self._lines.put_nowait, rest.decode("utf-8", "replace").strip())
            loop.call_soon_threadsafe(self._lines.put_nowait, None)
