"""What every probe of a packet child shares: capture, sending socket, source ports, routes, the rate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.gate import Gate
from probes.host.routes import NoRoute, Routes
from probes.packets.build import TTL, Template
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import Packet
from probes.packets.raw_socket import Bucket, Flows, Wire
from probes.packets.route import Route
from probes.packets.rx_ring import Capture
from probes.packets.tx_ring import Transmitters
from reachability.vocabulary import Protocol, Reason

MOST_TEMPLATES = 4096
GATHER_S = 0.002  # what comes in within such a time is read together; when it came is the kernel's word
MOST_BATCHES = 4  # in a row, before others have their turn


@dataclass(slots=True)
class Station:
    """What one packet child works with. Without CAP_NET_RAW `capture` and `wire` are None."""

    bucket: Bucket
    flows: Flows
    routes: Routes
    agent: str = ""
    bound: FlowBound = field(default_factory=FlowBound)
    capture: Capture | None = None
    wire: Wire | None = None
    listeners: list[Callable[[Packet], None]] = field(default_factory=list)
    gate: Gate = field(kw_only=True)
    _templates: dict[tuple[str, str, Protocol, bytes, bytes, int], Template] = field(default_factory=dict)
    _gathering: asyncio.TimerHandle | None = None
    _spare: list[Transmitters] = field(default_factory=list)

    @property
    def raw(self) -> bool:
        """Whether packets can be sent and captured raw."""
        return self.wire is not None

    async def send(
        self,
        route: Route,
        destination: str,
        protocol: Protocol,
        local: int,
        port: int,
        token: bytes,
        *,
        tail: bytes = b"",
        body: bytes = b"",
        ttl: int = TTL,
        fresh: bool = True,
        to_gateway: bool = False,
    ) -> None:
        """Send one packet; `tail`, `body` and `ttl` as `Template` has them; not `fresh`: of a flow that is counted already.

        `to_gateway`: an echo request to a gateway of this host. OSError when the kernel does not take it; NotAllowed.
        """
        if fresh:
            await self.bound.take(protocol)
        data = self.build(route, destination, protocol, local, port, token, tail=tail, body=body, ttl=ttl)
        await self.launch(route, destination, data, to_gateway=to_gateway)

    async def launch(self, route: Route, destination: str, data: bytes, *, to_gateway: bool = False) -> None:
        """Send what `build` made; as `send`."""
        assert self.wire is not None
        await self.wire.send(route, destination, data, to_gateway=to_gateway)

    def build(
        self,
        route: Route,
        destination: str,
        protocol: Protocol,
        local: int,
        port: int,
        token: bytes,
        *,
        tail: bytes = b"",
        body: bytes = b"",
        ttl: int = TTL,
    ) -> bytes:
        """One packet, as `send` has it."""
        key = (route.source, destination, protocol, tail, body, ttl)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= MOST_TEMPLATES:
                self._templates.clear()
            template = self._templates[key] = Template(*key)
        return template.build(local, port, token)

    def read(self) -> bool:
        """Hand out what the capture holds, at most a batch; whether there was anything."""
        packets = self.capture.read() if self.capture else None
        for packet in packets or ():
            self.flows.dispatch(packet)
            for listener in self.listeners:
                listener(packet)
        return packets is not None

    def take_transmitters(self) -> Transmitters:
        """Somebody's own until they are given back: to close a ring takes the kernel longer than to fill it."""
        return self._spare.pop() if self._spare else Transmitters(self.gate)

    def give_back(self, transmitters: Transmitters) -> None:
        """Of no use to whoever took them any more."""
        self._spare.append(transmitters)

    def listen(self) -> None:
        """Read the capture whenever something has come in, until `close`."""
        if self.capture is not None:
            asyncio.get_running_loop().add_reader(self.capture.socket, self._gather)

    def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        assert self.capture is not None
        loop.remove_reader(self.capture.socket)
        self._gathering = loop.call_later(GATHER_S, self._look)

    def _look(self) -> None:
        for _ in range(MOST_BATCHES):
            if not self.read():
                break
        self.listen()

    async def way(self, destination: str, source: str) -> tuple[Route, ...] | NoRoute:
        """Routes to a destination (a bare address) from a source address.

        The neighbour on the link that is asked for by ARP or ND on the way is the kernel's choice: the destination counts.
        """
        if self.gate.refuses_host(destination):
            return NoRoute(Reason.NOT_ALLOWED)
        try:
            return await self.routes.lookup(destination, source)
        except OSError:
            return NoRoute(Reason.LOCAL_ERROR)

    def close(self) -> None:
        """Listen no more, and close all sockets."""
        if self._gathering is not None:
            self._gathering.cancel()
        if self.capture is not None:
            asyncio.get_running_loop().remove_reader(self.capture.socket)
        for part in (self.capture, self.wire, *self._spare):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()
