"""A socket's error queue (ip(7), IP_RECVERR): who refused what was sent, which errno alone does not tell."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import ip_address

from probes import classify
from probes.packets.parse import ICMP, ICMP6
from reachability.vocabulary import Reason, State

_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ERROR = struct.Struct("=IBBBxII")  # sock_extended_err: errno, origin, type, code, information, data
_PROTOCOLS = {2: ICMP, 3: ICMP6}  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_ROOM = 512
_SOCKADDR_IN = 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ICMP error: who sent it, and for a datagram where it went ("" and 0 for a connection)."""

    by: str
    state: State
    reason: Reason
    address: str = ""
    port: int = 0


def ask_for(connection: socket.socket) -> None:
    """From now on the kernel keeps the errors of a socket in its queue."""
    if connection.family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def next_refusal(connection: socket.socket) -> Refusal | None:
    """The oldest ICMP error in the queue; None when there is none."""
    while True:
        try:
            _, ancillary, _, about = connection.recvmsg(0, _ROOM, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            return None
        for level, kind, data in ancillary:
            ours = (level, kind) in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}
            if not ours or len(data) < _ERROR.size + _SOCKADDR_IN:
                continue
            _, origin, icmp_type, code, _, _ = _ERROR.unpack_from(data)
            if origin in _PROTOCOLS:
                state, reason = classify.icmp(_PROTOCOLS[origin], icmp_type, code)
                address, port = (about[0].partition("%")[0], about[1]) if about else ("", 0)
                return Refusal(_address(data[_ERROR.size :]), state, reason, address, port)


def _address(data: bytes) -> str:
    """Of a sockaddr_in or sockaddr_in6."""
    if int.from_bytes(data[:2], sys.byteorder) == socket.AF_INET6 and len(data) >= 24:  # noqa: PLR2004
        return str(ip_address(data[8:24]))
    return str(ip_address(data[4:8]))
