"""What every probe of a packet child shares: capture, sending socket, source ports, routes, the rate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.capture import Capture
from probes.flowbound import FlowBound
from probes.frames import TTL, Template
from probes.packet import Packet
from probes.routes import NoRoute, Route, Routes
from probes.sender import Bucket, Flows, Wire
from reachability.vocabulary import Protocol, Reason

MOST_TEMPLATES = 4096


@dataclass(slots=True)
class Station:
    """The means of one packet child. Without CAP_NET_RAW `capture` and `wire` are None."""

    bucket: Bucket
    flows: Flows
    routes: Routes
    agent: str = ""
    bound: FlowBound = field(default_factory=FlowBound)
    capture: Capture | None = None
    wire: Wire | None = None
    listeners: list[Callable[[Packet], None]] = field(default_factory=list)
    _templates: dict[tuple[str, str, Protocol, bytes, bytes, int], Template] = field(default_factory=dict)

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
    ) -> None:
        """Send one packet; `tail`, `body` and `ttl` as `Template` has them; not `fresh`: of a flow that is counted already.

        OSError when the kernel does not take it.
        """
        assert self.wire is not None
        if fresh:
            await self.bound.take(protocol)
        key = (route.source, destination, protocol, tail, body, ttl)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= MOST_TEMPLATES:
                self._templates.clear()
            template = self._templates[key] = Template(*key)
        await self.wire.send(route, destination, template.build(local, port, token))

    def read(self) -> bool:
        """Hand out what the capture holds, at most a batch; whether there was anything."""
        packets = self.capture.read() if self.capture else None
        for packet in packets or ():
            self.flows.dispatch(packet)
            for listener in self.listeners:
                listener(packet)
        return packets is not None

    async def way(self, destination: str, source: str) -> tuple[Route, ...] | NoRoute:
        """Routes to a destination (a bare address) from a source address."""
        try:
            return await self.routes.lookup(destination, source)
        except OSError:
            return NoRoute(Reason.LOCAL_ERROR)

    def close(self) -> None:
        """Close all sockets."""
        for part in (self.capture, self.wire):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()
