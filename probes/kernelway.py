"""The kernel's own way: connect and sendto, as any program of the host would. Raw frames skip the host's output filter,
IPsec and socket-level load balancing; this does not, so services' and catalogue ports are tried both ways.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time

from probes import classify, payloads, said
from probes.cells import OPEN, SILENT, Cell
from probes.packet import Packet
from probes.sender import Bucket, Flows
from reachability.observation import KernelFlow
from reachability.topology import family
from reachability.vocabulary import Protocol, Reason, State

AT_ONCE = 64
CONNECT_S, REPLY_S = 0.9, 0.5


class KernelWay:
    """Tries cells through the kernel. `raw` False: it is the only way there is, and what it finds is the cell's state."""

    def __init__(self, bucket: Bucket, flows: Flows, *, raw: bool, listen: bool = True) -> None:
        self._bucket = bucket
        self._flows = flows
        self._raw = raw
        self._listen = listen
        self._limit = asyncio.Semaphore(AT_ONCE if raw else 4 * AT_ONCE)
        self._left: set[int] = set()
        self._count = 0
        self.flows: list[KernelFlow] = []

    async def run(self, cells: list[Cell]) -> None:
        """Try all cells, many at a time."""
        async with asyncio.TaskGroup() as group:
            for cell in cells:
                if cell.target.protocol is not Protocol.ICMP and cell.state is not State.ERROR:
                    group.create_task(self._one(cell), name=f"kernel {cell.target.address} {cell.port}")

    def close(self) -> None:
        """Give up the ports."""
        self._flows.release(self)

    def left(self, copy: int, packet: Packet) -> None:
        """Own capture: a packet of the flow went out."""
        del packet
        self._left.add(copy)

    def answered(self, copy: int, packet: Packet) -> None:
        """The kernel reads the answers itself."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """The kernel reads the errors itself."""

    async def _one(self, cell: Cell) -> None:
        tcp = cell.target.protocol is Protocol.TCP
        async with self._limit:
            await self._bucket.take()
            kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
            ip = socket.AF_INET6 if family(cell.target.address) == 6 else socket.AF_INET  # noqa: PLR2004
            with socket.socket(ip, kind) as connection:
                connection.setblocking(False)
                source = cell.target.source or (cell.routes[0].source if cell.routes else "")
                number = self._count = self._count + 1
                try:
                    connection.bind((source, 0))
                except OSError as error:
                    self._failed(cell, error)
                    return
                port = connection.getsockname()[1]
                self._flows.adopt(self, cell.target.protocol, port, number)
                self.flows.append(
                    KernelFlow(
                        address=cell.target.address,
                        protocol=cell.target.protocol,
                        port=cell.port,
                        source_address=source,
                        source_port=port,
                    )
                )
                started = time.monotonic()
                try:
                    await (self._tcp if tcp else self._udp)(cell, connection, source)
                except TimeoutError:
                    await asyncio.sleep(0.05)
                    left = number in self._left or not self._raw
                    self._found(cell, "silent" if left else "not-sent", State.FILTERED, Reason.NO_RESPONSE)
                except OSError as error:
                    self._failed(cell, error)
                else:
                    if cell.rtt_ms is None:
                        cell.rtt_ms = round((time.monotonic() - started) * 1000, 3)

    async def _tcp(self, cell: Cell, connection: socket.socket, source: str) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            await loop.sock_connect(connection, (cell.target.address, cell.port))
        self._found(cell, "open", State.OPEN, Reason.SYN_ACK)
        if self._listen:
            cell.said, cell.note = await said.listen(connection, cell.target.address, cell.port, source)

    async def _udp(self, cell: Cell, connection: socket.socket, source: str) -> None:
        del source
        loop = asyncio.get_running_loop()
        request = payloads.UDP.get(cell.port, b"segwatch")
        async with asyncio.timeout(REPLY_S):
            await loop.sock_connect(connection, (cell.target.address, cell.port))
            await loop.sock_sendall(connection, request)
            data = await loop.sock_recv(connection, 2048)
        self._found(cell, "open", State.OPEN, Reason.UDP_RESPONSE)
        if len(data) >= said.LEAST:
            cell.said, cell.note = said.digest(data[2:]), said.note(data)

    def _failed(self, cell: Cell, error: OSError) -> None:
        state, reason = classify.from_errno(error.errno)
        kernel = {errno.ECONNREFUSED: "refused", errno.EPERM: "not-sent"}.get(error.errno or 0, "error")
        self._found(cell, kernel, state, reason)

    def _found(self, cell: Cell, kernel: str, state: State, reason: Reason) -> None:
        cell.kernel = kernel
        if not self._raw or (state is State.OPEN and cell.level < OPEN):
            if self._raw or cell.level <= SILENT:
                cell.state, cell.reason = state, reason

