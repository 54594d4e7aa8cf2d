"""Canaries: a port of each host that nobody serves, asked before and after: a host that is open there is open everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.cells import verify
from probes.packet import Packet
from probes.routes import Route
from probes.token import CANARY_AFTER, CANARY_BEFORE, CANARY_COPIES
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
        found = verify(key, self.target.address, Protocol.TCP, self.target.canary, copy, packet)
        if found is not None:
            self.found[copy] = found[0]

    def result(self) -> CanaryResult:
        """What the report says; silence is `filtered`."""
        return CanaryResult(
            target=self.target.id,
            address=self.target.address,
            port=self.target.canary,
            before=self._state(CANARY_BEFORE),
            after=self._state(CANARY_AFTER),
        )

    def _state(self, first: int) -> State:
        states = [self.found[copy] for copy in range(first, first + CANARY_COPIES) if copy in self.found]
        return State.OPEN if State.OPEN in states else (states[0] if states else State.FILTERED)
