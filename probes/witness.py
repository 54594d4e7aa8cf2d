"""The witness: listens at this host for exactly the packets of a round, and says whether it could have seen them.

*Not seen* counts only from a capture that showed itself to work: off-host traffic to the very address, at the start and at
the end of the window, no loss counter moved, no XDP program in front.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from probes.arrivals import INSIDE, OURS, Arrivals, CellId
from probes.hostfacts import HostFacts
from probes.packet import ICMP, ICMP6, RST, SYN, TCP, UDP, Packet
from reachability.observation import WitnessHealth, WitnessReport
from reachability.ports import PortSet
from reachability.topology import family
from reachability.vocabulary import Protocol
from wire.messages import Arm

PROVE_S, PROVE_EVERY_S = 4.0, 0.15
PROVE_AGAIN_S = 1.5
KEEP_S, KEEP_ROUNDS = 60.0, 200
PROTOCOLS = {TCP: Protocol.TCP, UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP}


@dataclass(frozen=True, slots=True)
class Means:
    """What the witness needs of the host, as functions, so that tests can do without one."""

    facts: Callable[[], HostFacts]
    local: Callable[[], frozenset[str]]  # this host's addresses
    xdp: Callable[[], set[str]]  # interfaces with an XDP program
    gateways: Callable[[], frozenset[str]]
    provoke: Callable[[str], Awaitable[None]]  # make some other host send a packet to this address
    drops: Callable[[], int]  # packets that the capture lost since the last call
    now: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Round:
    """An armed round."""

    arrivals: Arrivals
    facts: HostFacts
    off_host: dict[str, int]
    udp_unbound: dict[str, int]
    drops: int
    proven: set[str]
    closed_at: float = 0.0
    reported: frozenset[CellId] = frozenset()


class Witness:
    """All rounds that this host listens for."""

    def __init__(self, agent: str, means: Means | None) -> None:
        """`means` None: there is no capture, so nothing is witnessed."""
        self._agent = agent
        self._means = means
        self._rounds: dict[str, Round] = {}
        self._closed: dict[str, Round] = {}
        self._late: set[str] = set()
        self._watch: dict[tuple[str, Protocol], list[Round]] = {}
        self._off_host: dict[str, int] = {}
        self._udp_unbound: dict[str, int] = {}
        self._bound_udp: dict[str, set[int]] = {}
        self._drops = 0

    @property
    def busy(self) -> bool:
        """Whether a round is armed, or was closed so lately that a late copy may still come."""
        now = self._means.now() if self._means else 0.0
        return bool(self._rounds) or any(now - r.closed_at < 5 for r in self._closed.values())  # noqa: PLR2004

    async def arm(self, arm: Arm) -> tuple[str, ...]:
        """Listen from now on; returns once the capture has shown itself to work, with what does not (empty: all does)."""
        if self._means is None:
            return ("no capture: this agent lacks CAP_NET_RAW",)
        means = self._means
        facts = means.facts()
        addresses = {target.address for target in arm.targets}
        for address in addresses:
            self._bound_udp[address] = facts.ports(Protocol.UDP, address)
            self._off_host.setdefault(address, 0)
            self._udp_unbound.setdefault(address, 0)
        self._drops += means.drops()
        round_ = Round(
            Arrivals(arm, means.now(), means.gateways()),
            facts,
            {a: self._off_host[a] for a in addresses},
            {a: self._udp_unbound[a] for a in addresses},
            self._drops,
            set(),
        )
        self._rounds[arm.round] = round_
        self._rewatch()
        dark = await self._prove(addresses, PROVE_S)
        round_.proven = addresses - dark
        return tuple(f"no packet from another host to {address} was captured" for address in sorted(dark))

    async def close(self, round_id: str) -> WitnessReport:
        """Stop listening for a round, and report."""
        round_ = self._rounds.get(round_id)
        if round_ is None or self._means is None:
            why = "no capture: this agent lacks CAP_NET_RAW" if self._means is None else "this round was never armed here"
            return WitnessReport(round=round_id, agent=self._agent, problems=(why,))
        means = self._means
        addresses = {address for address, _ in round_.arrivals.addresses}
        dark = await self._prove(addresses, PROVE_AGAIN_S)
        facts = means.facts()
        self._drops += means.drops()
        self._rounds.pop(round_id, None)
        round_.closed_at = means.now()
        round_.reported = frozenset(round_.arrivals.seen)
        self._closed[round_id] = round_
        while len(self._closed) > KEEP_ROUNDS:
            self._closed.pop(next(iter(self._closed)))
        self._rewatch()
        return WitnessReport(
            round=round_id,
            agent=self._agent,
            arrivals=round_.arrivals.rows(),
            untokened=round_.arrivals.untokened(),
            untokened_lost=round_.arrivals.flows_lost,
            health=tuple(self._health(round_, facts, address, dark) for address in sorted(addresses)),
            groups=round_.arrivals.group_rows(),
        )

    def packet(self, packet: Packet) -> None:
        """Take a captured packet."""
        protocol = PROTOCOLS.get(packet.protocol)
        if protocol is None or not self._watch:
            return
        if packet.incoming:
            self._incoming(packet, protocol)
        else:
            self._outgoing(packet, protocol)

    def tick(self) -> list[WitnessReport]:
        """Once in 20 ms or so: counters, forgotten rounds; returns corrections for copies that came late."""
        if self._means is None:
            return []
        now = self._means.now()
        if any(r.arrivals.groups for r in self._rounds.values()):
            noports = self._means.facts().noports
            for round_ in self._rounds.values():
                if round_.arrivals.groups:
                    ip = family(round_.arrivals.arm.targets[0].address)
                    round_.arrivals.tick(now, noports.get(ip, 0))
        for round_id, round_ in list(self._rounds.items()):
            if now - round_.arrivals.since > round_.arrivals.arm.ttl_s:
                del self._rounds[round_id]
                self._rewatch()
        for round_id, round_ in list(self._closed.items()):
            if now - round_.closed_at > KEEP_S:
                del self._closed[round_id]
                self._rewatch()
        late, self._late = self._late, set()
        return [self._correction(round_id) for round_id in sorted(late) if round_id in self._closed]

    def stop(self) -> None:
        """Forget every round."""
        self._rounds.clear()
        self._closed.clear()
        self._rewatch()

    def _correction(self, round_id: str) -> WitnessReport:
        return WitnessReport(
            round=round_id, agent=self._agent, arrivals=self._closed[round_id].arrivals.rows(), late=True
        )

    def _incoming(self, packet: Packet, protocol: Protocol) -> None:
        if packet.interface == "lo" or not packet.to_host:
            return
        address = packet.destination
        if address in self._off_host:
            self._off_host[address] += 1
            if protocol is Protocol.UDP and packet.dport not in self._bound_udp[address]:
                self._udp_unbound[address] += 1
        rounds = self._watch.get((address, protocol))
        if not rounds:
            return
        if protocol is Protocol.TCP and not packet.is_syn or protocol is Protocol.ICMP and not packet.is_echo_request:
            return
        cell = (address, protocol, packet.dport)
        listening = []
        for round_ in rounds:
            if not round_.arrivals.listens_for(cell):
                continue
            taken = round_.arrivals.take(cell, packet)
            if taken == OURS and round_.closed_at and cell not in round_.reported:
                self._late.add(round_.arrivals.arm.round)
            if taken in (OURS, INSIDE):
                return
            if not round_.closed_at:
                listening.append(round_)
        for round_ in listening:
            round_.arrivals.take_untokened(cell, packet)

    def _outgoing(self, packet: Packet, protocol: Protocol) -> None:
        """The host's answers: SYN-ACK or RST, a datagram from the port, an echo reply, an ICMP error about the packet."""
        if packet.quote is not None:
            quoted = PROTOCOLS.get(packet.quote.protocol)
            if quoted is not None:
                cell = (packet.quote.destination, quoted, packet.quote.dport)
                self._answered(cell, packet.quote.source)
            return
        if protocol is Protocol.TCP and not packet.flags & RST and packet.flags & (SYN | 16) != SYN | 16:
            return
        if protocol is Protocol.ICMP and not packet.is_echo_reply:
            return
        self._answered((packet.source, protocol, packet.sport), packet.destination)

    def _answered(self, cell: CellId, to: str) -> None:
        for round_ in self._watch.get(cell[:2], ()):
            round_.arrivals.answer(cell, to)

    async def _prove(self, addresses: Iterable[str], within_s: float) -> set[str]:
        """Provoke packets to each address until each was captured; the ones to which none came."""
        assert self._means is not None
        base = {address: self._off_host[address] for address in addresses}
        dark = set(base)
        until = self._means.now() + within_s
        while dark and self._means.now() < until:
            for address in sorted(dark):
                await self._means.provoke(address)
            await asyncio.sleep(PROVE_EVERY_S)
            dark = {address for address in dark if self._off_host[address] == base[address]}
        return dark

    def _health(self, round_: Round, facts: HostFacts, address: str, dark: set[str]) -> WitnessHealth:
        assert self._means is not None
        ip = family(address)
        captured = self._off_host[address] - round_.off_host[address]
        before = round_.facts
        xdp = self._means.xdp()
        why = (
            f"{address} is not an address of this host" if address not in self._means.local()
            else "no packet from another host was captured when it was armed" if address not in round_.proven and not captured
            else "no packet from another host was captured at the end" if address in dark
            else "the capture lost packets" if self._drops != round_.drops
            else "the host lost packets before the capture" if facts.lost != before.lost
            else f"an XDP program is in front of {', '.join(sorted(xdp))}" if xdp
            else ""
        )  # fmt: skip
        bound = {p: before.ports(p, address) | facts.ports(p, address) for p in (Protocol.TCP, Protocol.UDP)}
        return WitnessHealth(
            address=address,
            healthy=not why,
            why=why,
            off_host=captured,
            bound_tcp=str(PortSet.of(bound[Protocol.TCP])),
            bound_udp=str(PortSet.of(bound[Protocol.UDP])),
            noports=facts.noports.get(ip, 0) - before.noports.get(ip, 0),
            udp_unbound=self._udp_unbound[address] - round_.udp_unbound[address],
            drops_still=facts.drops == before.drops,
        )

    def _rewatch(self) -> None:
        self._watch = {}
        for round_ in (*self._rounds.values(), *self._closed.values()):
            for pair in round_.arrivals.addresses:
                self._watch.setdefault(pair, []).append(round_)

