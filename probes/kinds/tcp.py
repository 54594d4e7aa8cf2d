"""TCP: a raw SYN, and a connect through the kernel.

Proves: a SYN-ACK shows that connections can be made; a RST from the address itself, that packets reach its host.
Suggests: nothing by silence; a RST may come from a firewall on the way, which its hops tell.
Blind to: what the service would do with a connection; a proxy in front answers for it.
Privilege: CAP_NET_RAW for the SYNs; without it connect alone, to which a RST, a router's refusal and a closed port look the same.
On the wire: SYNs in several copies, each from a source port of its own, with sequence number and timestamp keyed; the
kernel resets what is answered. A connect reads a banner, sends one HTTP request or a ClientHello, and closes.
"""

from __future__ import annotations

from probes.kinds.single import ProbeRequest, ProbeResult, packets
from reachability.vocabulary import Protocol


async def probe(ask: ProbeRequest) -> ProbeResult:
    """One TCP port, both ways."""
    return await packets(ask, Protocol.TCP)
