"""Canaries: a port of each host that nobody serves, asked before and after: a host that is open there is open everywhere.

TCP and UDP have one each: a SYN proxy says nothing of datagrams. An echo has no port; of a host that answers for all over TCP its
echo is believed no more than its ports.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from probes.context import Station
from probes.packets.parse import Packet
from probes.packets.port_arrays import may_answer, sources_for
from probes.packets.raw_socket import NUMBER
from probes.packets.route import Route
from probes.packets.token import CANARY_AFTER, CANARY_BEFORE, CANARY_COPIES, token
from probes.source.cell import verify
from reachability.observation import CanaryResult, Target
from reachability.vocabulary import Protocol, State


@dataclass(slots=True)
class Canary:
    """One host's canary port. Copies before the round and after it have numbers of their own."""

    target: Target
    route: Route
    found: dict[int, State] = field(default_factory=dict)  # copy -> what came back

    def answer(self, key: bytes, copy: int, packet: Packet) -> None:
        """Take what came from the port."""
        found = verify(key, self.target.address, self.target.protocol, self.target.canary, copy, packet)
        if found is not None:
            self.found[copy] = found.state

    def result(self) -> CanaryResult:
        """What the report says; silence is `filtered`."""
        return CanaryResult(
            target=self.target.id,
            address=self.target.address,
            port=self.target.canary,
            before=self._state(CANARY_BEFORE),
            after=self._state(CANARY_AFTER),
            protocol=self.target.protocol,
        )

    def _state(self, first: int) -> State:
        states = [self.found[copy] for copy in range(first, first + CANARY_COPIES) if copy in self.found]
        return State.OPEN if State.OPEN in states else (states[0] if states else State.FILTERED)


class Canaries:
    """All canaries of a job. A `Handler` of the source ports that they leave from."""

    def __init__(self, station: Station, key: bytes) -> None:
        self._station = station
        self._key = key
        self._all: dict[tuple[str, int, int], Canary] = {}  # by address, number of the protocol, port
        # Source address, protocol, copy, and where the port is from, to the port.
        self._ports: dict[tuple[str, Protocol, int, tuple[int, int]], int] = {}
        self.packets = 0
        self.problems: list[str] = []

    def add(self, target: Target, route: Route) -> None:
        """Ask a target's canary port, by this way."""
        self._all[target.address, NUMBER[target.protocol], target.canary] = Canary(target, route)

    async def ask(self, first: int) -> None:
        """Send the copies from `first` on."""
        for copy in range(first, first + CANARY_COPIES):
            for (address, _, port), canary in self._all.items():
                protocol = canary.target.protocol
                tok = token(self._key, address, protocol, port, copy)
                local = self._port(canary.route.source, protocol, copy, sources_for(port))
                try:
                    await self._station.send(canary.route, address, protocol, local, port, tok)
                    self.packets += 1
                except OSError as error:
                    self.problems.append(f"cannot send a canary: {error.strerror or error}")

    async def connect(self, connects: Callable[[str, int, str], Awaitable[State]], copy: int) -> None:
        """The same without raw sockets, by `connects(address, port, source)`: over TCP alone."""
        self._all = {key: canary for key, canary in self._all.items() if canary.target.protocol is Protocol.TCP}
        for (address, _, port), canary in self._all.items():
            canary.found[copy] = await connects(address, port, canary.route.source)

    def results(self) -> tuple[CanaryResult, ...]:
        """What the report says of them."""
        return tuple(canary.result() for canary in self._all.values())

    def left(self, copy: int, packet: Packet) -> None:
        """Nothing to do: silence is an answer here."""

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to one of their ports."""
        canary = self._all.get((packet.source, packet.protocol, packet.sport))
        if canary is not None and may_answer(packet.sport, packet.dport):
            canary.answer(self._key, copy, packet)

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """Nothing to do: as good as silence."""

    def _port(self, source: str, protocol: Protocol, copy: int, within: tuple[int, int]) -> int:
        key = source, protocol, copy, within
        if key not in self._ports:
            self._ports[key] = self._station.flows.reserve(self, protocol, copy, within)
        return self._ports[key]
