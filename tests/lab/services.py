"""Real listeners for hosts of the lab: TCP and UDP ports of one host in one process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable

from lab.estate import Estate
from lab.sealed import Process


def serve(estate: Estate, host: str, ports: Iterable[tuple[str, int]]) -> Process:
    """Listen on (protocol, port) pairs of a host, over IPv4 and IPv6; returns once all are bound."""
    wanted = [f"{protocol}/{port}" for protocol, port in ports]
    process = estate.spawn(host, [sys.executable, __file__, *wanted])
    for _ in range(100):
        said = estate.run(host, ["ss", "-Hltun"]).stdout
        if all(f":{port.partition('/')[2]} " in said for port in wanted):
            return process
    raise AssertionError(f"{host} does not listen on {wanted}: {said}")


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(b"echo " + data, addr)  # type: ignore[attr-defined]


async def _main(ports: list[str]) -> None:
    loop = asyncio.get_running_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        with contextlib.suppress(OSError):
            writer.write(f"220 lab service on {port} ready\r\n".encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    for text in ports:
        protocol, _, port = text.partition("/")
        if protocol == "tcp":
            await asyncio.start_server(talk, None, int(port))
        else:
            await loop.create_datagram_endpoint(_Echo, local_addr=("::", int(port)))  # IPv4 too
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
