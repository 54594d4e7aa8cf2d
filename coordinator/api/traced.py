"""What a trace answers: by which hops the packets of a cell went, and where they stopped."""

from __future__ import annotations

from coordinator.api.responses import packets
from coordinator.rounds.trace import Trace
from reachability.observation import Hop
from reachability.trace import Witnessed


def trace_body(made: Trace) -> packets.Trace:
    """What `explain` adds with `--trace`."""
    spec, seen, report, found = made.spec, made.seen, made.report, made.shows
    witness = found.witness
    return packets.Trace(
        round=spec.round,
        agent=spec.source,
        source_address=seen.source_address,
        address=seen.address,
        protocol=seen.protocol.value,
        port=seen.ports.first or None,
        via=seen.via or None,
        packets=report.packets,
        seconds=report.duration_s,
        hops=tuple(_hop(hop) for hop in found.hops),
        reached=found.reached,
        stops_after=found.stops_after or None,
        witness=_witness(witness) if witness is not None else None,
        text=found.text,
    )


def _witness(witness: Witnessed) -> packets.TraceWitness:
    return packets.TraceWitness(
        agent=witness.agent,
        healthy=witness.healthy,
        why=witness.why or None,
        arrived=witness.arrived,
        least_ttl=witness.least_ttl,
    )


def _hop(hop: Hop) -> packets.TraceHop:
    return packets.TraceHop(
        ttl=hop.ttl,
        address=hop.address or None,
        reason=hop.reason.value,
        rtt_ms=hop.rtt_ms,
        sent=hop.sent,
        answers=hop.answers,
    )
