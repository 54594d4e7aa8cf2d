"""What a challenge's own capture saw leave, slot by slot: only that can show by its absence at the witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from probes.packets.parse import ICMP, ICMP6, TCP, UDP, Packet
from reachability.challenge import A_SLOT, is_enough
from reachability.observation import Observation, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State

EARLY = 0.1  # of a slot: by so much a packet may seem to have left before it, for the capture reads another clock
_PROTOCOLS = {TCP: Protocol.TCP, UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP}


class Sender(NamedTuple):
    """One port of a target, tried raw or through the kernel."""

    target: int
    port: int
    kernel: bool


class Departures:
    """Counts packets by port and slot."""

    def __init__(
        self, pattern: Sequence[int], begin: float, slot_s: float, expected: Mapping[Sender, tuple[Target, int]]
    ) -> None:
        """`expected`: what has to leave, and how many packets for one (a host may have several ways there)."""
        self._pattern, self._begin, self._slot_s = pattern, begin, slot_s
        self._expected = expected
        self._left = {sender: [0] * len(pattern) for sender in expected}
        self._by_endpoint: dict[tuple[str, Protocol], list[Target]] = {}
        for target in {target.id: target for target, _ in expected.values()}.values():
            self._by_endpoint.setdefault((target.address, target.protocol), []).append(target)

    def saw(self, packet: Packet, *, kernel: bool) -> None:
        """A packet of the challenge left."""
        slot = int((packet.at - self._begin) / self._slot_s + EARLY)
        protocol = _PROTOCOLS.get(packet.protocol)
        if protocol is None or not 0 <= slot < len(self._pattern):
            return
        port = 0 if protocol is Protocol.ICMP else packet.dport
        for target in self._by_endpoint.get((packet.destination, protocol), ()):
            left = self._left.get(Sender(target.id, port, kernel))
            if left is not None and target.source in {"", packet.source}:
                left[slot] += 1

    def are_all(self) -> bool:
        """Whether all left that should."""
        return not self._failed() and all(
            count >= A_SLOT for on, count in zip(self._pattern, self.slots(), strict=True) if on
        )

    def slots(self) -> tuple[int, ...]:
        """Packets that left in each slot to any of the ports, at least; those that `lacking` names are not among these."""
        failed = {(sender.target, sender.port) for sender in self._failed()}
        counts = [self._counts(sender) for sender in self._left if (sender.target, sender.port) not in failed]
        return tuple(map(min, zip(*counts, strict=True))) if counts else (0,) * len(self._pattern)

    def lacking(self) -> tuple[Observation, ...]:
        """The ports for which too little left for their silence to mean anything."""
        ports: dict[int, list[int]] = {}
        for sender in self._failed():
            ports.setdefault(sender.target, []).append(sender.port)
        targets = {target.id: target for target, _ in self._expected.values()}
        return tuple(
            Observation(
                target=number,
                source_address=targets[number].source,
                address=targets[number].address,
                protocol=targets[number].protocol,
                ports=PortSet.of(some).compact(),
                state=State.ERROR,
                reason=Reason.LOCAL_ERROR,
            )
            for number, some in ports.items()
        )

    def _failed(self) -> list[Sender]:
        return [sender for sender in self._left if not is_enough(self._pattern, self._counts(sender))]

    def _counts(self, sender: Sender) -> list[int]:
        """By slot; of several ways to send, none is shown to have been left out."""
        ways = self._expected[sender][1]
        return [count // ways if ways else 0 for count in self._left[sender]]
