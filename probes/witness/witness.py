"""The witness: listens at this host for exactly the packets of a round, and says whether it could have seen them.

*Not seen* counts only from a capture that showed itself to work: off-host traffic to the very address, at the start and at
the end of the window, no loss counter moved, no XDP program in front.
"""

from __future__ import annotations

from probes.host.listening import Bound
from probes.packets.columns import Columns
from probes.packets.parse import ACK, ICMP, ICMP6, RST, SYN, TCP, UDP, Packet
from probes.packets.token_index import CellId, Endpoint
from probes.witness.armed import Round
from probes.witness.arrivals import Arrivals, Token
from probes.witness.health import OffHost, WitnessDeps
from probes.witness.initiator import HOST_SPOKE_FIRST, Talks
from probes.witness.noports import AFTER_S, Groups
from probes.witness.readings import Readings
from probes.witness.sweep_arrivals import SweepArrivals
from probes.witness.sweep_reader import SweepReader
from probes.witness.unbound import Unbound
from reachability.arrival import WitnessHealth, WitnessReport
from reachability.vocabulary import Protocol, RoundKind
from wire.messages import Arm

__all__ = ["Witness", "WitnessDeps"]

PROVE_S, PROVE_AGAIN_S = 4.0, 4.0  # a busy host takes a while to answer; both are far below what the coordinator waits
KEEP_S, KEEP_ROUNDS = 60.0, 200
MOST_ARMED = 256
SOCKETS_EVERY_S = 1.0
PROTOCOLS = {TCP: Protocol.TCP, UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP}
NO_CAPTURE = "no capture: this agent lacks CAP_NET_RAW"


class Witness:
    """All rounds that this host listens for."""

    def __init__(self, agent: str, deps: WitnessDeps | None) -> None:
        """`deps` None: there is no capture, so nothing is witnessed."""
        self._agent = agent
        self._deps = deps
        self._rounds: dict[str, Round] = {}
        self._closed: dict[str, Round] = {}
        self._blind: dict[str, tuple[str, ...]] = {}  # rounds armed without a capture: their addresses
        self._late: set[str] = set()
        self._watch: dict[Endpoint, list[Round]] = {}
        self.sweep_reader = SweepReader(self._took)
        self._off_host = OffHost()
        self._local: frozenset[str] = frozenset()
        self._unbound = Unbound()
        self._bound_at = 0.0
        self._talks = Talks()
        self._drops = 0
        self._readings = Readings()

    def listens(self, round_id: str) -> bool:
        """Whether the round is armed."""
        return round_id in self._rounds

    async def arm(self, arm: Arm) -> tuple[str, ...]:
        """Listen from now on; returns once the capture has shown itself to work, with what does not (empty: all does)."""
        addresses = {target.address for target in arm.targets}
        if self._deps is None:
            self._blind[arm.round] = tuple(sorted(addresses))
            return (NO_CAPTURE,)
        if len(self._rounds) >= MOST_ARMED:
            return (f"{MOST_ARMED} rounds are armed here already",)
        deps = self._deps
        facts = deps.facts()
        self._learn(facts.bound, deps.now())
        self._local = deps.local()
        self._drops = deps.drops()
        round_ = self._rounds[arm.round] = Round(
            arrivals=Arrivals(arm, deps.now(), deps.gateways()),
            facts=facts,
            off_host=self._off_host.watch(addresses),
            unbound=dict(self._unbound.counts),
            drops=self._drops,
            xdp=deps.xdp(),
            groups=Groups(arm.groups, arm.targets, self._readings.take(deps.now, deps.deliveries)),
            bound=facts.bound,
        )
        self._rewatch()
        own = addresses & self._local
        dark = await self._off_host.prove(deps, own, PROVE_S)
        round_.proven = own - dark
        round_.keep_newest(self._off_host)
        round_.armed_ms = round((deps.now() - round_.arrivals.since) * 1000, 1)
        foreign = (f"{address} is not an address of this host" for address in sorted(addresses - own))
        return (*foreign, *(f"no packet from another host to {address} was captured" for address in sorted(dark)))

    async def close(self, round_id: str) -> WitnessReport:
        """Stop listening for a round, and report. The capture has to show once more that it works."""
        round_ = self._rounds.get(round_id)
        if round_ is None or self._deps is None:
            blind = self._blind.pop(round_id, ())
            why = NO_CAPTURE if self._deps is None else "this round is not armed here"
            health = tuple(WitnessHealth(address=address, healthy=False, why=why) for address in blind)
            return WitnessReport(round=round_id, agent=self._agent, health=health, problems=(why,))
        deps = self._deps
        addresses = {address for address, _ in round_.arrivals.endpoints}
        self._local = deps.local()
        self._readings.end(round_.groups, deps.now, deps.deliveries)
        dark = await self._off_host.prove(deps, addresses & self._local, PROVE_AGAIN_S)
        facts = deps.facts()
        self._drops = deps.drops()
        self._learn(facts.bound, deps.now())
        round_.xdp |= deps.xdp()
        await deps.sleep(AFTER_S)  # what the counters count, the capture is to hand over too
        self._rounds.pop(round_id, None)
        round_.closed_at, round_.arrivals.closed = deps.now(), True
        round_.keep_newest(self._off_host)
        report = WitnessReport(
            round=round_id,
            agent=self._agent,
            arrivals=round_.arrivals.rows(),
            untokened=round_.arrivals.untokened(),
            crowded=round_.arrivals.crowded_rows(),
            health=tuple(
                round_.health(
                    address,
                    facts,
                    self._off_host,
                    own=address in self._local,
                    at_end=address not in dark,
                    drops=self._drops,
                    unbound=self._unbound.counts,
                )
                for address in sorted(addresses)
            ),
            groups=round_.groups.rows(),
            armed_ms=round_.armed_ms,
            listened_s=round(round_.closed_at - round_.arrivals.since, 3),
            kept=round_.arrivals.kept.take_some(),
        )
        round_.arrivals.forget_flows()
        self._closed[round_id] = round_
        while len(self._closed) > KEEP_ROUNDS:
            self._closed.pop(next(iter(self._closed)))
        self._rewatch()
        return report

    def packet(self, packet: Packet) -> None:
        """Take a captured packet."""
        if not self._watch:
            return
        if packet.is_encrypted and packet.incoming:
            self._off_host.count_encrypted(packet)
        protocol = PROTOCOLS.get(packet.protocol)
        if protocol is None:
            return
        if packet.interface == "lo" and packet.to_host:
            self._unbound.take(packet)  # nobody else's packets come that way
        elif packet.incoming:
            self._incoming(packet, protocol)
        else:
            self._outgoing(packet, protocol)

    def tick(self) -> list[WitnessReport]:
        """Once in 20 ms or so: readings, forgotten rounds; returns corrections for copies that came late."""
        if self._deps is None:
            return []
        now = self._deps.now()
        self._readings.hand_out()
        if self._rounds and now - self._bound_at >= SOCKETS_EVERY_S:
            self._learn(self._deps.facts().bound, now)
        self._expire(now)
        late, self._late = self._late, set()
        return [self._correction(name) for name in sorted(late) if name in self._closed]

    def _correction(self, name: str) -> WitnessReport:
        arrivals = self._closed[name].arrivals
        return WitnessReport(
            round=name, agent=self._agent, arrivals=arrivals.late_rows(), late=True, kept=arrivals.kept.take_some()
        )

    def stop(self) -> None:
        """Forget every round."""
        for rounds in (self._rounds, self._closed, self._blind):
            rounds.clear()
        self._rewatch()

    def _incoming(self, packet: Packet, protocol: Protocol) -> None:
        address = packet.destination
        if not packet.to_host or packet.source in self._local or address not in self._local:
            return
        self._off_host.count(packet)
        # Not the same packet, shown by a bridge again; a token counts by whatever interface it comes in.
        is_first = to_ask = True
        if protocol is Protocol.UDP:
            first = self._first_of(packet)
            is_first = first in {packet.interface, HOST_SPOKE_FIRST}
            to_ask = is_first and first != HOST_SPOKE_FIRST
        rounds = self._watch.get(Endpoint(address, protocol))
        if not rounds:
            return
        opens = packet.is_syn if protocol is Protocol.TCP else protocol is Protocol.UDP or packet.is_echo_request
        if not opens:
            return
        cell = CellId(address, protocol, packet.dport)
        listening = []
        for round_ in rounds:
            if not round_.arrivals.listens_for(cell):
                continue
            taken = round_.arrivals.take(cell, packet)
            if taken is Token.SOURCE:
                self._note(round_, cell, packet.at if is_first else None)
            if taken is not Token.NONE:
                return
            if not round_.arrivals.closed:
                listening.append(round_.arrivals)
        # What a newer round's kernel sends is no riddle to one in its tail. From a challenge nothing is kept back: its port
        # is any, and may be one that another round's key gives.
        newest = max((a.since for a in listening if to_ask and a.by_kernel(cell, packet.sport)), default=0.0)
        for arrivals in listening:
            if to_ask and (arrivals.arm.kind is RoundKind.CHALLENGE or arrivals.since >= newest):
                arrivals.take_untokened(cell, packet)

    def _took(self, arrivals: Arrivals, sweep: SweepArrivals, columns: Columns) -> None:
        if arrivals.closed and arrivals.has_late:
            self._late.add(arrivals.arm.round)
        if sweep.target.protocol is Protocol.UDP:
            address = sweep.target.address
            # A bridge shows a packet again on another interface.
            once = columns.interface == arrivals.came_by.setdefault(address, int(columns.interface[0]))
            self._unbound.take_columns(address, columns, once)

    def _note(self, round_: Round, cell: CellId, at: float | None) -> None:
        """A copy has come, `at` a time; None: it is no datagram more of the host's."""
        if round_.arrivals.closed:
            if round_.arrivals.has_late:
                self._late.add(round_.arrivals.arm.round)
        elif round_.groups and at is not None:
            self._readings.hand_out()
            for target in round_.arrivals.targets_of(cell):
                round_.groups.take(target.id, cell.port, at)

    def _first_of(self, packet: Packet) -> str:
        """As `Talks.first_of`. Counts those without a socket, once each."""
        first = self._talks.first_of(packet)
        if first in {packet.interface, HOST_SPOKE_FIRST}:
            self._unbound.take(packet)
        return first

    def _outgoing(self, packet: Packet, protocol: Protocol) -> None:
        """The host's answers: SYN-ACK or RST, a datagram from the port, an echo reply.

        An ICMP error is not one: it may be the host's firewall that sends it. `Udp: NoPorts` tells for a port-unreach.
        """
        if packet.quote is not None:
            self._refused(packet, packet.quote)
            return
        if protocol is Protocol.TCP and not packet.flags & RST and packet.flags & (SYN | ACK) != SYN | ACK:
            return
        if protocol is Protocol.ICMP and not packet.is_echo_reply:
            return
        if protocol is Protocol.UDP:
            self._talks.spoke(packet)
        self._answered(CellId(packet.source, protocol, packet.sport), packet)

    def _refused(self, packet: Packet, quote: Packet) -> None:
        protocol = PROTOCOLS.get(quote.protocol)
        if protocol is not None:
            cell = CellId(quote.destination, protocol, quote.dport)
            for round_ in self._watch.get(cell.endpoint, ()):
                round_.arrivals.refusal(cell, (quote.source, quote.sport or quote.icmp_id), packet)

    def _answered(self, cell: CellId, packet: Packet) -> None:
        for round_ in self._watch.get(cell.endpoint, ()):
            round_.arrivals.answer(cell, (packet.destination, packet.dport or packet.icmp_id), packet)

    def _learn(self, bound: Bound, now: float) -> None:
        """Which sockets there are changes while rounds are armed."""
        self._unbound.bound, self._bound_at = bound, now
        for round_ in self._rounds.values():
            round_.bound |= bound

    def _expire(self, now: float) -> None:
        over = [name for name, r in self._rounds.items() if now - r.arrivals.since > r.arrivals.arm.ttl_s]
        old = [name for name, r in self._closed.items() if now - r.closed_at > KEEP_S]
        for name in over:
            del self._rounds[name]
        for name in old:
            del self._closed[name]
        if over or old:
            self._rewatch()

    def _rewatch(self) -> None:
        self._watch = {}
        # The newest first: most packets are its own, and to be sure that a packet is no older round's takes all its tokens.
        for round_ in (*reversed(self._rounds.values()), *reversed(self._closed.values())):
            for endpoint in round_.arrivals.endpoints:
                self._watch.setdefault(endpoint, []).append(round_)
        if (deps := self._deps) is not None:
            awaited = (round_.groups for round_ in self._rounds.values())
            self._readings.await_(awaited, lambda: deps.repeat(lambda: self._readings.take(deps.now, deps.deliveries)))
        self.sweep_reader.watch({endpoint: [r.arrivals for r in rounds] for endpoint, rounds in self._watch.items()})
