"""By which ways the copies of a cell leave, and what is known of each."""

from __future__ import annotations

import pytest

from probes.packets.route import Route
from probes.source.cycle import Source
from probes.sweep.raw import SweepSource
from reachability.observation import ControlTarget
from reachability.vocabulary import Protocol, Reason, State
from tests.support.network import END, OWN, ROUTE, play, target

HERE = Route("lo", "", OWN, b"", local=True)
SECOND = Route("eth1", "10.11.0.1", OWN, b"\x03" * 6)
OUTSIDE = "10.0.0.1"
CONTROL = ControlTarget(address=OUTSIDE, protocol=Protocol.TCP, port=8883)
KINDS = pytest.mark.parametrize("kind", [Source, SweepSource])


@KINDS
@pytest.mark.parametrize("way", [HERE, Route("lo", "", OWN, b"")])
def test_an_address_of_the_agents_own_host_is_not_probed(kind: type[Source], way: Route) -> None:
    """By way of lo it would cross no boundary: an answer, and a silence, would be about nothing."""
    ran = play(lambda _: 0.0004, kind=kind, ways=lambda *_: (way,))
    assert ran.sent == []
    assert {(o.state, o.reason) for o in ran.report.observations} == {(State.ERROR, Reason.OWN_HOST)}


@KINDS
@pytest.mark.parametrize("dead", ["eth0", "eth1", ""])
def test_copies_leave_by_each_next_hop_and_count_where_a_control_came_back_by_each(
    kind: type[Source], dead: str
) -> None:
    def answers(route: Route, destination: str) -> float | None:
        return 0.0004 if destination == OUTSIDE and route.interface != dead else None

    ran = play(by_way=answers, kind=kind, ways=lambda *_: (ROUTE, SECOND), controls=(CONTROL,), targets=(target("22"),))
    (seen,) = ran.report.observations
    probes = [route for route, (_, packet) in zip(ran.by, ran.sent, strict=True) if packet.destination == END]
    assert probes.count(ROUTE) == probes.count(SECOND) >= seen.sent
    assert (seen.covered > 0) is not bool(dead)
    assert {c.via for c in ran.report.controls if c.answered} == {r.via for r in (ROUTE, SECOND) if r.interface != dead}


def test_where_the_host_has_no_route_a_control_goes_by_each_gateway_that_copies_go_by() -> None:
    """The kernel sends to the coordinator by one of them alone."""
    ran = play(
        by_way=lambda _, destination: 0.0004 if destination == OUTSIDE else None,
        ways=lambda destination, _: (ROUTE,) if destination == OUTSIDE else (ROUTE, SECOND),
        controls=(CONTROL,),
        targets=(target("22"),),
    )
    (seen,) = ran.report.observations
    assert seen.covered == seen.sent > 0
