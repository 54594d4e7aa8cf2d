"""Sending: one packet rate over everything, source ports that are ours alone, and who gets which answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
from collections.abc import Callable
from typing import Protocol as Interface

from probes.clock import monotonic
from probes.gate import Gate
from probes.packets.parse import ICMP, ICMP6, TCP, UDP, Packet
from probes.packets.route import Route, ethertype_of
from reachability.vocabulary import Protocol

EPHEMERAL = (32768, 60999)
BURST_S = 0.02
TRIES = 50
_FULL = {errno.EAGAIN, errno.ENOBUFS}
NUMBER = {Protocol.TCP: TCP, Protocol.UDP: UDP, Protocol.ICMP: ICMP}


class Bucket:
    """A token bucket: at most `rate_pps` packets a second over all that this agent sends."""

    def __init__(self, rate_pps: int, now: Callable[[], float] = monotonic) -> None:
        self.rate = max(1, rate_pps)
        self._now = now
        self._level = 1.0
        self._at = now()
        self._since_yield = 0

    async def take(self, packets: int = 1) -> None:
        """Wait until this many packets may go; those after it wait longer where these are more than the bucket holds."""
        self._refill()
        while self._level < (least := min(packets, self._most)):
            await asyncio.sleep(min(0.05, (least - self._level) / self.rate))
            self._refill()
        self._level -= packets
        self._since_yield += packets
        if self._since_yield >= 32:  # noqa: PLR2004 - let the capture be read
            self._since_yield = 0
            await asyncio.sleep(0)

    def _refill(self) -> None:
        now = self._now()
        self._level = min(self._most, self._level + (now - self._at) * self.rate)
        self._at = now

    @property
    def _most(self) -> float:
        return max(1.0, self.rate * BURST_S)


class Handler(Interface):
    """Gets what concerns a source port that it reserved; `copy` is what it reserved the port for."""

    def left(self, copy: int, packet: Packet) -> None:
        """A packet from the port was seen leaving."""

    def answered(self, copy: int, packet: Packet) -> None:
        """A packet came in to the port."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a packet from the port."""


class Flows:
    """Source ports in use, each held by a bound socket, so that no program of this host gets it meanwhile.

    A bound TCP socket that does not listen lets the kernel answer a SYN-ACK with its RST, as it should; a bound UDP socket
    keeps the kernel from refusing the answers. An ICMP identifier is nobody's, so nothing holds it.
    """

    def __init__(self) -> None:
        self._handlers: dict[tuple[int, int], tuple[Handler, int]] = {}
        self._sockets: dict[tuple[int, int], socket.socket] = {}

    def reserve(self, handler: Handler, protocol: Protocol, copy: int, within: tuple[int, int] = EPHEMERAL) -> int:
        """A new ephemeral port (or ICMP identifier) of ours; OSError when none is free."""
        for _ in range(200):
            port = random.randint(*within)  # noqa: S311 - has to be unused, not secret
            key = (NUMBER[protocol], port)
            if key in self._handlers:
                continue
            if protocol is not Protocol.ICMP:
                holder = _hold(socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM, port)
                if holder is None:
                    continue
                self._sockets[key] = holder
            self._handlers[key] = (handler, copy)
            return port
        raise OSError("no unused source port was found in 200 tries")

    def adopt(self, handler: Handler, protocol: Protocol, port: int, copy: int) -> None:
        """Register a port that somebody else holds, such as a connected socket."""
        self._handlers[NUMBER[protocol], port] = (handler, copy)

    def free(self, protocol: Protocol, port: int) -> None:
        """Give up one port."""
        self._handlers.pop((NUMBER[protocol], port), None)
        held = self._sockets.pop((NUMBER[protocol], port), None)
        if held is not None:
            held.close()

    def release(self, handler: Handler) -> None:
        """Give up all ports of a handler."""
        for key in [key for key, (owner, _) in self._handlers.items() if owner is handler]:
            del self._handlers[key]
            held = self._sockets.pop(key, None)
            if held is not None:
                held.close()

    def dispatch(self, packet: Packet) -> None:
        """Hand a captured packet to whom it concerns: what left (a probe, never the kernel's RST), answers, refusals."""
        if packet.quote is not None:
            quote = packet.quote
            inner = ICMP if quote.protocol == ICMP6 else quote.protocol
            found = self._handlers.get((inner, quote.icmp_id if inner == ICMP else quote.sport))
            if found is not None and packet.incoming:
                handler, copy = found
                handler.refused(copy, packet, quote)
            return
        if packet.protocol in (TCP, UDP):
            found = self._handlers.get((packet.protocol, packet.dport if packet.incoming else packet.sport))
        else:
            known = packet.is_echo_reply if packet.incoming else packet.is_echo_request
            found = self._handlers.get((ICMP, packet.icmp_id)) if known else None
        if found is None:
            return
        handler, copy = found
        if packet.incoming:
            handler.answered(copy, packet)
        elif packet.protocol != TCP or packet.is_syn:
            handler.left(copy, packet)


class Wire:
    """The sockets that send. Needs CAP_NET_RAW; PermissionError without it."""

    def __init__(self, bucket: Bucket, gate: Gate) -> None:
        self.bucket = bucket
        self._gate = gate
        self.sent = 0
        self._packet = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._packet.setblocking(False)
        # A frame put on `lo` would be a martian: what goes to this host itself goes through the kernel's own output.
        self._own = {4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)}
        with contextlib.suppress(OSError):  # IPv6 is off
            self._own[6] = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for raw in self._own.values():
            raw.setblocking(False)

    async def send(self, route: Route, destination: str, data: bytes, *, to_gateway: bool = False) -> None:
        """Send layer 3 bytes by a route, at the agent's rate; OSError when the kernel does not take them, NotAllowed."""
        await self.bucket.take()
        for _ in range(TRIES):
            if to_gateway:
                self._gate.check_echo(data)
            else:
                self._gate.check_packet(data)
            try:
                if route.local:
                    self._own[6 if ":" in destination else 4].sendto(data, (destination, 0))
                else:
                    address = (route.interface, ethertype_of(destination), 0, 0, route.link)
                    self._packet.sendto(data, address)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                await asyncio.sleep(0.002)
            else:
                self.sent += 1
                return
        raise OSError(errno.ENOBUFS, "the interface takes no packets")

    def close(self) -> None:
        """Close the sockets."""
        for each in (self._packet, *self._own.values()):
            each.close()


def _hold(kind: int, port: int) -> socket.socket | None:
    holder = socket.socket(socket.AF_INET6, kind)
    try:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        holder.bind(("::", port))
    except OSError:
        holder.close()
        return _hold4(kind, port)
    return holder


def _hold4(kind: int, port: int) -> socket.socket | None:
    """Where IPv6 is off."""
    holder = socket.socket(socket.AF_INET, kind)
    try:
        holder.bind(("0.0.0.0", port))  # noqa: S104 - bound, never listening
    except OSError:
        holder.close()
        return None
    return holder
