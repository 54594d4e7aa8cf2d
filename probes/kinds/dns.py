"""DNS: does a name of another environment resolve, and to what.

Proves: that a name is (or is not) known to this host's resolver, or that a server answers DNS at UDP port 53.
Suggests: that split-horizon zones leak between environments, when a name of another environment resolves.
Blind to: what a different resolver would say; an answer does not show that the address can be reached.
Privilege: none.
On the wire: what getaddrinfo(3) sends; to a server one query over UDP (RFC 1035), at most three times.
"""

from __future__ import annotations

import time

from probes import classify
from probes.kinds.single import ProbeRequest, ProbeResult, failed
from probes.protocols.dns import query_server, resolve
from reachability.observation import Observation
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, SentBy, State


async def probe(ask: ProbeRequest) -> ProbeResult:
    """Whether a name resolves, and to what: at this host's resolver, or at one server."""
    started = time.monotonic()
    try:
        if ask.server:
            found, words = await query_server(ask.server, ask.host)
        else:
            found, words = await resolve(ask.host)
    except ValueError as error:
        return failed(ask, Protocol.UDP, "dns", Reason.RESOLVE_FAILED, str(error))
    except OSError as error:
        found, words = (), error.strerror or str(error)
        state, reason = classify.from_errno(error.errno)
    else:
        answered = bool(found or (ask.server and words))
        state, reason = (State.OPEN, Reason.UDP_RESPONSE) if answered else (State.ERROR, Reason.RESOLVE_FAILED)
        if ask.server and not words:
            state, reason, words = State.OPEN_FILTERED, Reason.NO_RESPONSE, f"{ask.server} does not answer"
    observation = Observation(
        target=1,
        source_address="",
        address=ask.server or ask.host,
        protocol=Protocol.UDP,
        kind="dns",
        name=ask.host,
        ports=PortSet.of([53] if ask.server else []),
        state=state,
        reason=reason,
        way=SentBy.CONNECT,
        note=words,
        rtt_ms=round((time.monotonic() - started) * 1000, 3),
    )
    return ProbeResult(observation, lines=tuple(("address", address) for address in found))
