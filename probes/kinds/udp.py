"""UDP: a datagram that the port's usual service answers, and the keyed token.

Proves: a reply shows that datagrams cross both ways; a port-unreach from the address itself, that they reach its host.
Suggests: nothing by silence, which is the rule. A host refuses six times and then once a second, over all ports.
Blind to: services that answer only what they know, unless a witness at the destination sees the datagrams arrive.
Privilege: CAP_NET_RAW for the keyed copies; the service's request goes through the kernel with none.
On the wire: datagrams of 8 bytes (the token) in several copies, each from a source port of its own; at the ports below
also the request as it stands.
"""

from __future__ import annotations

from probes.kinds.single import ProbeRequest, ProbeResult, packets
from reachability.vocabulary import Protocol


async def probe(ask: ProbeRequest) -> ProbeResult:
    """One UDP port: the keyed datagrams, and the request of its usual service."""
    return await packets(ask, Protocol.UDP)
