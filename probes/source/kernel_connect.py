"""The kernel's own way: connect and sendto, as any program of the host would.

Raw frames skip the host's output filter, IPsec and socket-level load balancing; this does not, so services' and catalogue
ports are tried both ways.
"""

from __future__ import annotations

import asyncio
import errno
import socket

from probes import classify
from probes.clock import monotonic
from probes.context import Station
from probes.kernel.error_queue import Refusal, ask_for, next_refusal
from probes.packets.parse import Packet
from probes.packets.retained import Kept
from probes.packets.token import KERNEL_COPY, kernel_ports, token
from probes.protocols import banner, dns, udp_payloads
from probes.source.cell import OPEN, Cell
from reachability.observation import KernelFlow
from reachability.vocabulary import KernelAnswer, PacketRole, Protocol, Reason, State

AT_ONCE = 400
CONNECT_S, REPLY_S, SEEN_S = 0.9, 0.6, 0.05
_ANSWERS = {
    errno.ECONNREFUSED: KernelAnswer.REFUSED,
    errno.EPERM: KernelAnswer.NOT_SENT,
    errno.EACCES: KernelAnswer.NOT_SENT,
}


class KernelWay:
    """Tries cells through the kernel. Without raw sockets it is the only way, and what it finds is the cell's state."""

    def __init__(self, station: Station, key: bytes, kept: Kept) -> None:
        self._station = station
        self._kept = kept
        self._key = key
        self._raw = station.raw
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._left: dict[int, int] = {}  # try -> sequence number
        self._cells: dict[int, Cell] = {}
        self._refusals: dict[int, Refusal | None] = {}  # without raw sockets: what the kernel was told
        self._ports: set[tuple[Protocol, int]] = set()
        self._count = 0
        self.packets = 0
        self.flows: list[KernelFlow] = []

    async def run(self, cells: list[Cell]) -> None:
        """Try all cells, many at a time."""
        async with asyncio.TaskGroup() as group:
            for cell in cells:
                if cell.target.protocol is not Protocol.ICMP and cell.state is not State.ERROR and not cell.kernel:
                    group.create_task(self._one(cell), name=f"kernel {cell.target.address} {cell.port}")

    async def connects(self, address: str, port: int, source: str) -> State:
        """Whether a TCP port can be connected to: open, closed, filtered (silence) or error."""
        try:
            with await self._dial(address, port, source):
                return State.OPEN
        except TimeoutError:
            return State.FILTERED
        except OSError as error:
            return classify.from_errno(error.errno).state

    def close(self) -> None:
        """Give up the ports."""
        self._station.flows.release(self)

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw a packet of the flow go out."""
        self._left[copy] = packet.seq
        self._note(copy, PacketRole.SENT, packet)

    def answered(self, copy: int, packet: Packet) -> None:
        """The kernel reads the answers itself."""
        self._note(copy, PacketRole.CAME_BACK, packet)

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """The kernel reads the errors itself, but does not say who sent them."""
        cell = self._cells.get(copy)
        if cell is None or quote.destination != cell.target.address or quote.dport != cell.port:
            return
        if cell.target.protocol is Protocol.UDP or quote.seq == self._left.get(copy):
            cell.take_refusal(packet)
            self._note(copy, PacketRole.CAME_BACK, packet)

    def _note(self, copy: int, what: PacketRole, packet: Packet) -> None:
        cell = self._cells.get(copy)
        if cell is not None:
            self._kept.note(cell.target.id, cell.port, what, packet)

    async def _one(self, cell: Cell) -> None:
        attempt = self._tcp if cell.target.protocol is Protocol.TCP else self._udp
        async with self._limit:
            for last in (False, True):
                number = self._count + 1  # the first connection that the attempt makes
                try:
                    await attempt(cell)
                except TimeoutError:
                    await asyncio.sleep(SEEN_S)
                    left = not self._raw or number in self._left
                    if not left and not last:  # once more: the capture may have missed one packet
                        continue
                    silent = KernelAnswer.SILENT if left else KernelAnswer.NOT_SENT
                    self._found(cell, silent, cell.state, Reason.NO_RESPONSE)
                except OSError as error:
                    answer = _ANSWERS.get(error.errno or 0, KernelAnswer.ERROR)
                    await asyncio.sleep(SEEN_S)
                    # An ICMPv6 refusal by policy comes as EACCES too: what was seen to leave was sent.
                    if answer is KernelAnswer.NOT_SENT and number in self._left:
                        answer = KernelAnswer.REFUSED
                    self._found(cell, answer, *classify.from_errno(error.errno))
                    refusal = self._refusals.get(number)
                    if refusal is not None and not self._raw:
                        cell.take_refusal_by(refusal.by, refusal.state, refusal.reason)
                return

    async def _tcp(self, cell: Cell) -> None:
        address, port = cell.target.address, cell.port
        with await self._dial(address, port, cell.source, cell) as connection:
            self._found(cell, KernelAnswer.OPEN, State.OPEN, Reason.SYN_ACK)

            async def again() -> socket.socket:
                return await self._dial(address, port, cell.source, cell)

            heard = await banner.listen(connection, port, cell.target.name, again)
            cell.said, cell.note, cell.kind = heard.digest, heard.note, heard.kind

    async def _udp(self, cell: Cell) -> None:
        address, port = cell.target.address, cell.port
        request = udp_payloads.REQUESTS.get(port) or token(self._key, address, Protocol.UDP, port, KERNEL_COPY)
        loop = asyncio.get_running_loop()
        with self._socket(socket.SOCK_DGRAM, address, port, cell.source, cell) as connection:
            number = self._count
            started = await self._room(Protocol.UDP)
            try:
                async with asyncio.timeout(REPLY_S):
                    self._station.gate.check(address, port)
                    await loop.sock_connect(connection, (address, port))
                    await loop.sock_sendall(connection, request)
                    data = await loop.sock_recv(connection, banner.MOST)
            except OSError:
                self._refusals[number] = next_refusal(connection)
                raise
            _took(cell, started)
        self._found(cell, KernelAnswer.OPEN, State.OPEN, Reason.UDP_RESPONSE)
        cell.note = banner.note(data)
        if port in (53, 5353) and dns.describe(data):
            cell.kind, cell.note = "dns", dns.describe(data)
        steady = udp_payloads.steady(port, data)
        if len(steady) >= banner.LEAST:
            cell.said = banner.digest(steady)

    async def _dial(self, address: str, port: int, source: str, cell: Cell | None = None) -> socket.socket:
        """A connected socket whose flow is known to the witness; OSError or TimeoutError. The cell gets its time."""
        connection = self._socket(socket.SOCK_STREAM, address, port, source, cell)
        number = self._count
        try:
            started = await self._room(Protocol.TCP)
            async with asyncio.timeout(CONNECT_S):
                self._station.gate.check(address, port)
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            _took(cell, started)
        except BaseException as error:
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                self._station.bound.closed(1)
                self._refusals[number] = next_refusal(connection)
            connection.close()
            raise
        self._station.bound.closed(1)
        return connection

    async def _room(self, protocol: Protocol) -> float:
        """Wait until one more packet of one more flow may go; when that was."""
        await self._station.bound.take(protocol)
        await self._station.bucket.take()
        self.packets += 1
        return monotonic()

    def _socket(self, kind: int, address: str, port: int, source: str, cell: Cell | None) -> socket.socket:
        protocol = Protocol.TCP if kind == socket.SOCK_STREAM else Protocol.UDP
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        try:
            connection.setblocking(False)
            if not self._raw:
                ask_for(connection)
            self._bind(connection, source, protocol, kernel_ports(self._key, address, protocol, port))
        except OSError:
            connection.close()
            raise
        own, local = connection.getsockname()[:2]
        self._count += 1
        if cell is not None:
            self._cells[self._count] = cell
        self._station.flows.adopt(self, protocol, local, self._count)
        self.flows.append(
            KernelFlow(address=address, protocol=protocol, port=port, source_address=source or own, source_port=local)
        )
        return connection

    def _bind(self, connection: socket.socket, source: str, protocol: Protocol, ports: tuple[int, ...]) -> None:
        """To the first of the ports that this round has not used and nobody holds, else to one of the kernel's choice."""
        for local in ports:
            if (protocol, local) in self._ports:
                continue
            self._ports.add((protocol, local))
            try:
                connection.bind((source, local))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        connection.bind((source, 0))

    def _found(self, cell: Cell, kernel: KernelAnswer, state: State, reason: Reason) -> None:
        """What crossed wins: an open port counts whichever way it was found; all else only where there is no other way."""
        cell.kernel = kernel
        if not self._raw or (state is State.OPEN and cell.level < OPEN):
            cell.state, cell.reason = state, reason


def _took(cell: Cell | None, started: float) -> None:
    """How long it took, where the capture has not said so better."""
    if cell is not None and cell.rtt_ms is None:
        cell.rtt_ms = round((monotonic() - started) * 1000, 3)
