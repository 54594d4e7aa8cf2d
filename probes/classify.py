"""The one classifier: errno and ICMP type and code become the fixed states and reasons. What it does not know is `error`."""

from __future__ import annotations

import errno
from typing import NamedTuple

from probes.packets.parse import ICMP
from reachability.vocabulary import Reason, State


class Outcome(NamedTuple):
    """What an answer or an error comes to."""

    state: State
    reason: Reason


UNKNOWN = Outcome(State.ERROR, Reason.LOCAL_ERROR)

# RFC 792, RFC 1812: destination unreachable
_ICMP_UNREACHABLE = {
    0: Reason.NET_UNREACH,
    1: Reason.HOST_UNREACH,
    2: Reason.PROTO_UNREACH,
    3: Reason.PORT_UNREACH,
    6: Reason.NET_UNREACH,
    7: Reason.HOST_UNREACH,
    9: Reason.ADMIN_PROHIBITED,
    10: Reason.ADMIN_PROHIBITED,
    11: Reason.NET_UNREACH,
    12: Reason.HOST_UNREACH,
    13: Reason.ADMIN_PROHIBITED,
}
# RFC 4443
_ICMP6_UNREACHABLE = {
    0: Reason.NET_UNREACH,
    1: Reason.ADMIN_PROHIBITED,
    2: Reason.NET_UNREACH,
    3: Reason.HOST_UNREACH,
    4: Reason.PORT_UNREACH,
    5: Reason.ADMIN_PROHIBITED,
    6: Reason.ADMIN_PROHIBITED,
}
_ERRNO = {
    errno.ECONNREFUSED: Outcome(State.CLOSED, Reason.CONN_REFUSED),
    errno.ETIMEDOUT: Outcome(State.FILTERED, Reason.NO_RESPONSE),
    errno.EHOSTUNREACH: Outcome(State.FILTERED, Reason.HOST_UNREACH),
    errno.ENETUNREACH: Outcome(State.ERROR, Reason.NO_ROUTE),
    errno.EADDRNOTAVAIL: Outcome(State.ERROR, Reason.LOCAL_ERROR),
    errno.EPERM: Outcome(State.ERROR, Reason.LOCAL_FILTER),
    errno.EACCES: Outcome(State.ERROR, Reason.NO_PERMISSION),
}


def icmp(protocol: int, kind: int, code: int) -> Outcome:
    """State and reason for an ICMP error of IPv4 (protocol 1) or IPv6 (58)."""
    if protocol == ICMP:
        exceeded = Reason.TTL_EXCEEDED if kind == 11 else None  # noqa: PLR2004
        reason = _ICMP_UNREACHABLE.get(code) if kind == 3 else exceeded  # noqa: PLR2004 - destination unreachable
    elif kind == 1:
        reason = _ICMP6_UNREACHABLE.get(code)
    else:
        reason = Reason.TTL_EXCEEDED if kind == 3 else None  # noqa: PLR2004
    return UNKNOWN if reason is None else Outcome(State.FILTERED, reason)


def from_errno(number: int | None) -> Outcome:
    """State and reason for an error of a socket call."""
    return _ERRNO.get(number or 0, UNKNOWN)
