"""TLS: a handshake, and the certificate that is shown.

Proves: that a session can be made, and with what (the certificate's digest is the same from inside and outside, or not).
Suggests: by its certificate, whose service it is.
Blind to: whether the service would accept a client's certificate; nothing is verified, for any certificate is an answer.
Privilege: none.
On the wire: a TCP connection, a ClientHello with the name if there is one, then a close. A failure after the SYN-ACK is
an open port with a note.
"""

from __future__ import annotations

import asyncio
import socket
import time

from probes import classify
from probes.kinds.single import ProbeRequest, ProbeResult
from probes.protocols.tls import describe, fingerprint, handshake
from reachability.observation import Observation
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, SentBy, State

CONNECT_S = 3.0


async def probe(ask: ProbeRequest) -> ProbeResult:
    """A connection to one TCP port, and a handshake on it."""
    connection = socket.socket(socket.AF_INET6 if ":" in ask.address else socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    started = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(connection, (ask.address, ask.port))
    except TimeoutError:
        connection.close()
        return ProbeResult(_observation(ask, State.FILTERED, Reason.NO_RESPONSE))
    except OSError as error:
        connection.close()
        return ProbeResult(_observation(ask, *classify.from_errno(error.errno), note=error.strerror or ""))
    rtt_ms = round((time.monotonic() - started) * 1000, 3)
    certificate, note = await handshake(connection, ask.name)
    said = fingerprint(certificate) if certificate else ""
    found = _observation(ask, State.OPEN, Reason.SYN_ACK, note=note, said=said, rtt_ms=rtt_ms)
    return ProbeResult(found, lines=tuple(describe(certificate).items()) if certificate else ())


def _observation(
    ask: ProbeRequest, state: State, reason: Reason, *, note: str = "", said: str = "", rtt_ms: float | None = None
) -> Observation:
    return Observation(
        target=1,
        source_address="",
        address=ask.address,
        protocol=Protocol.TCP,
        kind="tls",
        name=ask.name,
        ports=PortSet.of([ask.port]),
        state=state,
        reason=reason,
        way=SentBy.CONNECT,
        kernel="open" if state is State.OPEN else "",
        said=said,
        note=note,
        rtt_ms=rtt_ms,
    )
