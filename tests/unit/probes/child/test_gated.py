"""An order that reaches the packet child past the daemon: what the host's own bounds do not allow is refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from probes.child.gated import at_most, carried_out, in_force, permitted
from probes.child.protocol import Bounds, Configure
from probes.gate import Gate, NotAllowed
from reachability.observation import ControlTarget, SourceReport
from reachability.vocabulary import Protocol, Reason, State
from tests.support.desk import REPORT, SEEN, target
from tests.support.virtual import run

CONFIGURE = Configure(
    agent="dev-1",
    broker_host="203.0.113.5",
    broker_port=8883,
    bounds=Bounds(allow=("10.30.0.0/24",), deny=("10.30.0.66",)),
)
NOTHING = SourceReport(round="r", agent="dev-1")
NOT_IN_IT = "10.99.0.1 is in no network that this agent's configuration allows"


def gate(configure: Configure = CONFIGURE) -> Gate:
    return Gate(*in_force(configure))


def found(report: SourceReport = REPORT) -> Callable[[], Awaitable[tuple[SourceReport, float]]]:
    async def send() -> tuple[SourceReport, float]:
        return report, 1.5

    return send


def failing(error: Exception) -> Callable[[], Awaitable[tuple[SourceReport, float]]]:
    async def send() -> tuple[SourceReport, float]:
        raise error

    return send


def test_a_child_that_was_told_no_bounds_sends_nothing() -> None:
    may = permitted((target(1),), (), gate(Configure(agent="dev-1")))
    assert may.targets == ()


def test_what_is_not_allowed_is_an_error_by_its_name_and_the_rest_goes_on() -> None:
    may = permitted((target(1), target(2, "10.99.0.1"), target(3, "10.30.0.66"), target(4, "db.prod")), (), gate())
    assert may.targets == (target(1),)
    report, tail_s = run(carried_out(may, NOTHING, found()))
    assert tail_s == 1.5
    seen, *others = report.observations
    assert seen == SEEN
    assert [(o.target, o.state, o.reason) for o in others] == [
        (2, State.ERROR, Reason.NOT_ALLOWED),
        (3, State.ERROR, Reason.NOT_ALLOWED),
        (4, State.ERROR, Reason.RESOLVE_FAILED),
    ]
    assert others[0].note == NOT_IN_IT
    assert report.problems == (NOT_IN_IT, others[1].note)


def test_controls_are_left_out_and_said_but_for_the_brokers_own_port() -> None:
    controls = tuple(
        ControlTarget(address=address, protocol=protocol, port=port)
        for address, protocol, port in (
            ("10.30.0.1", Protocol.ICMP, 0),
            ("203.0.113.5", Protocol.TCP, 8883),
            ("203.0.113.5", Protocol.TCP, 22),
            ("203.0.113.5", Protocol.ICMP, 8883),
        )
    )
    may = permitted((target(1),), controls, gate())
    assert may.controls == controls[:2]
    why = "203.0.113.5 is in no network that this agent's configuration allows"
    assert may.problems == (f"control not allowed: {why}",)


def test_of_an_order_of_nothing_else_nothing_begins() -> None:
    may = permitted((target(2, "10.99.0.1"),), (), gate())
    report, _ = run(carried_out(may, NOTHING, failing(AssertionError())))
    assert [o.reason for o in report.observations] == [Reason.NOT_ALLOWED]


@pytest.mark.parametrize(
    "error",
    [NotAllowed(NOT_IN_IT), ExceptionGroup("tasks", [ValueError(), ExceptionGroup("more", [NotAllowed(NOT_IN_IT)])])],
)
def test_where_a_socket_refuses_after_all_nothing_of_the_order_proves_anything(error: Exception) -> None:
    may = permitted((target(1), target(2, "10.99.0.1")), (), gate())
    report, tail_s = run(carried_out(may, NOTHING, failing(error)))
    assert {(o.target, o.state, o.reason, o.note) for o in report.observations} == {
        (number, State.ERROR, Reason.NOT_ALLOWED, NOT_IN_IT) for number in (1, 2)
    }
    assert report.problems[0] == NOT_IN_IT
    assert tail_s == 0.0


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("tasks", [ValueError("x")])])
def test_what_else_ends_a_probe_is_no_refusal(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(carried_out(permitted((target(1),), (), gate()), NOTHING, failing(error)))


def test_the_hosts_own_rate_is_not_exceeded_whatever_is_asked() -> None:
    assert (at_most(10**6, 500), at_most(100, 500), at_most(100, 0)) == (500, 100, 100)
