"""ICMP refusals: what is one, and which of them tell of a rule."""

from __future__ import annotations

from reachability.vocabulary import Reason, State

_REFUSALS = {
    Reason.HOST_UNREACH, Reason.NET_UNREACH, Reason.PROTO_UNREACH, Reason.PORT_UNREACH, Reason.ADMIN_PROHIBITED,
    Reason.TTL_EXCEEDED,
}  # fmt: skip


def is_policy(reason: Reason) -> bool:
    """Whether an ICMP refusal tells of a rule: prohibited, or a firewall's REJECT in its usual form.

    A closed UDP port's own port-unreach is no refusal. The other codes tell of a dead host, a missing route, a loop.
    """
    return reason in {Reason.ADMIN_PROHIBITED, Reason.PORT_UNREACH}


def is_refusal(state: State, reason: Reason) -> bool:
    """Whether an answer is an ICMP refusal, rather than silence."""
    return state is State.FILTERED and reason in _REFUSALS
