"""Real listeners for hosts of the lab: TCP and UDP ports of one host in one process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterable

from lab.estate import Estate
from lab.sealed import Process


def serve(estate: Estate, host: str, ports: Iterable[tuple[str, int]], *, against: str = "") -> Process:
    """Listen on (protocol, port) pairs of a host, over IPv4 and IPv6; returns once all are bound.

    Protocols: tcp (a banner), reset (accepts, then resets), udp (echoes), own (echoes to 10.30.0.0/24 alone), sink (UDP that
    never answers), noise-tcp and noise-udp (sends to `against` at the port, until it is ended).
    """
    wanted = [f"{protocol}/{port}" for protocol, port in ports]
    process = estate.spawn(host, [sys.executable, __file__, *wanted, *([against] if against else [])])
    bound = [text for text in wanted if not text.startswith("noise")]
    until = time.monotonic() + BOUND_S
    while True:
        said = estate.run(host, ["ss", "-Hltun"]).stdout
        if all(f":{text.partition('/')[2]} " in said for text in bound):
            return process
        ended = process.poll()
        assert ended is None, f"{host} does not serve {wanted}: it ended with {ended}"
        assert time.monotonic() < until, f"{host} does not listen on {wanted}: {said}"
        time.sleep(0.05)


BOUND_S = 120.0  # hang guards, both
NOISE_S = 600.0


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(b"echo " + data, addr)  # type: ignore[attr-defined]


class _OwnNetwork(_Echo):
    """A service with an access list of its own: it gets what strangers send, and keeps silent."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr[0].removeprefix("::ffff:").startswith("10.30.0."):
            super().datagram_received(data, addr)


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = writer.get_extra_info("sockname")[1]
    with contextlib.suppress(OSError):
        writer.write(f"220 lab service on {port} ready\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _noise(kind: str, address: str, port: int) -> None:
    until = time.monotonic() + NOISE_S
    while time.monotonic() < until:
        if kind == "noise-udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"whatever else is sent here", (address, port))
            await asyncio.sleep(0.01)
        else:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.5):
                    _, writer = await asyncio.open_connection(address, port)
                    writer.close()
            await asyncio.sleep(0.01)


async def _main(arguments: list[str]) -> None:
    loop = asyncio.get_running_loop()
    against = arguments[-1] if "/" not in arguments[-1] else ""
    async with asyncio.TaskGroup() as group:
        for text in arguments:
            kind, _, port = text.partition("/")
            match kind:
                case "tcp":
                    await asyncio.start_server(_talk, None, int(port))
                case "reset":
                    await asyncio.start_server(_reset, None, int(port))
                case "udp":
                    await loop.create_datagram_endpoint(_Echo, local_addr=("::", int(port)))  # IPv4 too
                case "own":
                    await loop.create_datagram_endpoint(_OwnNetwork, local_addr=("::", int(port)))
                case "sink":
                    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("::", int(port)))
                case "noise-tcp" | "noise-udp":
                    group.create_task(_noise(kind, against, int(port)), name=text)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
