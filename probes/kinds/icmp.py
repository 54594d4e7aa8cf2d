"""ICMP: an echo request.

Proves: an echo reply shows that packets cross both ways between these hosts, and how many hops away the host is.
Suggests: nothing by silence: hosts and firewalls drop echoes that let all else through.
Blind to: every port.
Privilege: CAP_NET_RAW.
On the wire: echo requests of 24 bytes in several copies, each with an identifier of its own and a keyed payload.
"""

from __future__ import annotations

from probes.kinds.single import ProbeRequest, ProbeResult, packets
from reachability.vocabulary import Protocol


async def probe(ask: ProbeRequest) -> ProbeResult:
    """One host."""
    return await packets(ask, Protocol.ICMP)
