"""A round that a witness listens for, and whether the witness could have seen its packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.host.counters import HostFacts
from probes.host.deliveries import Deliveries
from probes.host.listening import Bound
from probes.witness.arrivals import Arrivals
from probes.witness.health import OffHost, Window
from probes.witness.noports import Groups
from reachability.arrival import WitnessHealth
from reachability.topology import family
from reachability.vocabulary import PacketRole, Protocol


@dataclass(slots=True)
class Round:
    """An armed round, with what was read when it was armed."""

    arrivals: Arrivals
    facts: HostFacts
    off_host: Mapping[str, int]
    unbound: Mapping[int, int]
    drops: int
    xdp: set[str]
    groups: Groups
    bound: Bound  # at any time since
    armed_ms: float = 0.0
    proven: set[str] = field(default_factory=set)
    closed_at: float = 0.0

    def keep_newest(self, off_host: OffHost) -> None:
        """Keep what came from other hosts last: it shows at the start and at the end that the capture works."""
        for target in self.arrivals.arm.targets:
            packet = off_host.newest.get(target.address)
            if packet is not None and packet.at >= self.arrivals.since:
                self.arrivals.kept.note(target.id, 0, PacketRole.INSTEAD, packet, ours=False)

    def health(
        self,
        address: str,
        facts: HostFacts,
        off_host: OffHost,
        *,
        own: bool,
        at_end: bool,
        drops: int,
        unbound: Mapping[int, int],
    ) -> WitnessHealth:
        """The health of the window at one address, now that it ends.

        `own`: whether the host still has the address; `at_end`: whether a packet from outside was just captured there; `drops`:
        of the capture since it began; `unbound`: datagrams to ports without a socket, by family.
        """
        ip = family(address)
        moved = facts.deliveries.get(ip, Deliveries()).since(self.facts.deliveries.get(ip, Deliveries()))
        why = Window(
            address=address,
            own=own,
            at_start=address in self.proven,
            at_end=at_end,
            lost_by_capture=drops - self.drops,
            link_down=facts.down_since(self.facts, off_host.interfaces[address]),
            xdp=frozenset(self.xdp),
            encrypted=self.arrivals.missed_of(address, off_host.encrypted(address, self.arrivals.since)),
        ).why_not()
        return WitnessHealth(
            address=address,
            healthy=not why,
            why=why,
            off_host=off_host.counts[address] - self.off_host[address],
            bound_tcp=self.bound.ports(address, Protocol.TCP),
            bound_udp=self.bound.ports(address, Protocol.UDP),
            noports=moved.noports,
            udp_unbound=unbound[ip] - self.unbound[ip],
            delivered=moved.delivered,
            forwarded=moved.forwarded,
            forwards=ip in facts.forwards | self.facts.forwards,
            drops_still=facts.drops == self.facts.drops,
            missed=facts.missed_since(self.facts),
        )
