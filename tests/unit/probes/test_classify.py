"""The one classifier."""

from __future__ import annotations

import errno

import pytest

from probes import classify
from reachability.vocabulary import Reason, State


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (classify.icmp(1, 3, 13), (State.FILTERED, Reason.ADMIN_PROHIBITED)),
        (classify.icmp(1, 3, 3), (State.FILTERED, Reason.PORT_UNREACH)),
        (classify.icmp(1, 11, 0), (State.FILTERED, Reason.TTL_EXCEEDED)),
        (classify.icmp(58, 1, 1), (State.FILTERED, Reason.ADMIN_PROHIBITED)),
        (classify.icmp(58, 1, 4), (State.FILTERED, Reason.PORT_UNREACH)),
    ],
)
def test_icmp_errors_have_one_name_each(error: tuple[State, Reason], found: tuple[State, Reason]) -> None:
    assert error == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ECONNREFUSED", (State.CLOSED, Reason.CONN_REFUSED)),
        ("ETIMEDOUT", (State.FILTERED, Reason.NO_RESPONSE)),
        ("EHOSTUNREACH", (State.FILTERED, Reason.HOST_UNREACH)),
        ("ENETUNREACH", (State.ERROR, Reason.NO_ROUTE)),
        ("EADDRNOTAVAIL", (State.ERROR, Reason.LOCAL_ERROR)),
        ("EPERM", (State.ERROR, Reason.LOCAL_FILTER)),
        ("EACCES", (State.ERROR, Reason.NO_PERMISSION)),
    ],
)
def test_errors_of_a_socket_have_one_name_each(name: str, found: tuple[State, Reason]) -> None:
    assert classify.from_errno(getattr(errno, name)) == found


@pytest.mark.parametrize("code", range(256))
def test_what_the_classifier_does_not_know_is_an_error_never_filtered(code: int) -> None:
    for protocol, kind in ((1, 3), (1, 5), (58, 1), (58, 200)):
        state, reason = classify.icmp(protocol, kind, code)
        assert state is State.ERROR or reason in set(Reason) - {Reason.NO_RESPONSE}
    state, _ = classify.from_errno(3000 + code)
    assert state is State.ERROR
    assert classify.from_errno(None)[0] is State.ERROR
