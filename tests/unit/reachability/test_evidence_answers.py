"""Refusals and resets of a round, joined into evidence: whose they are, and what they lean on."""

from dataclasses import replace

import pytest

from reachability.arrival import ArrivalRow, Untokened
from reachability.evidence import conclude
from reachability.observation import CanaryResult, KernelFlow, Observation
from reachability.ports import PortSet
from reachability.verdict import Verdict, judge
from reachability.vocabulary import Protocol, Reachability, Reason, State
from tests.support.round_data import (
    CONTROL,
    DEV,
    HEALTHY,
    PROD,
    TCP,
    UDP,
    data,
    insides,
    silence,
    source,
    verdicts,
    witness,
)

SSH = replace(TCP, ports=PortSet.parse("22"))
ALONE = replace(SSH, witness="")
ARRIVED = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=SSH.ports, copies=4, last_copy=3)
RESET = silence(SSH, state=State.CLOSED, reason=Reason.RESET, hops=0, sent=3, covered=3, flows=3)
ROUTER = silence(ALONE, reason=Reason.ADMIN_PROHIBITED, refused_by="10.0.0.254", refused=4, prohibited=4)
ITSELF = silence(SSH, reason=Reason.ADMIN_PROHIBITED, refused_by=PROD, refused=4, prohibited_at_host=4, hops=1)
UNREACHABLE = replace(ITSELF, reason=Reason.HOST_UNREACH, prohibited_at_host=0)


def one(*observations: Observation, row: ArrivalRow | None = None, **changes: object) -> Verdict:
    """Of port 22, seen by a healthy witness or not."""
    rows = (row,) if row else ()
    src = source(*observations, **changes)
    ((_, _, e),) = conclude([data(SSH, src=src, wit=(witness(*rows),))]).cells
    return judge(e)


def alone(observation: Observation, inside: Observation | None = None, **changes: object) -> Verdict:
    """Of port 22 of a host without an agent."""
    said = insides(inside) if inside else ()
    src = source(observation, **changes)
    target = replace(ALONE, inside="prod-2" if inside else "")
    ((_, _, e),) = conclude([data(target, src=src, insides=said)]).cells
    return judge(e)


def test_a_reset_on_the_way_leans_on_controls_and_loss() -> None:
    assert (one(RESET).reachability, one(RESET).row) == (Reachability.BLOCKED, 6)
    assert one(RESET, controls=()).reason == "no-source-control"
    assert one(replace(RESET, covered=0)).reason == "controls-stopped"
    assert one(replace(RESET, sent=1, covered=1, flows=1)).reason == "loss", "one flow may be one leg of several"


def test_three_resets_do_where_silence_needs_four() -> None:
    """A copy that was reset was not lost."""
    few = replace(CONTROL, sent=10, answered=10)
    assert (
        one(replace(silence(SSH), sent=3, covered=3), controls=(replace(few, sent=12, answered=10),)).reason == "loss"
    )
    assert one(RESET, controls=(few,)).row == 6
    lossy = replace(CONTROL, answered=60)
    assert one(RESET, controls=(lossy,)).reason == "loss"
    (more,) = conclude([data(SSH, src=source(RESET, controls=(lossy,)), wit=(witness(),))]).followups
    again = replace(RESET, sent=3 + more.copies, covered=3 + more.copies)
    assert one(again, controls=(lossy,)).row == 6


def test_a_reset_from_as_far_as_the_host_may_be_another_hosts_with_its_address() -> None:
    for hops in 1, 2:
        said = one(replace(RESET, hops=hops), host_hops={PROD: 1})
        assert (said.reachability, said.row, said.reason) == (Reachability.UNKNOWN, 4, "answered-elsewhere")
    assert one(replace(RESET, hops=0), host_hops={PROD: 1}).row == 6
    assert one(replace(RESET, hops=1)).reason == "who-closed-it", "nothing tells how far the host is"


def test_of_the_resets_of_several_rounds_the_furthest_counts() -> None:
    src = [source(replace(RESET, hops=hops), host_hops={PROD: 1}) for hops in (0, 1)]
    ((_, _, e),) = conclude([data(SSH, src=one, wit=(witness(),)) for one in src]).cells
    assert (e.hops, e.sent, judge(e).reason) == (1, 6, "answered-elsewhere")


def test_a_nearer_reset_without_a_witness_leans_on_controls_and_loss() -> None:
    closed = silence(ALONE, source_address="10.30.0.11", state=State.CLOSED, reason=Reason.RESET)
    near = {"host_hops": {PROD: 1}}
    assert alone(RESET, closed, **near).row == 7
    assert alone(RESET, closed, controls=(), **near).reason == "no-source-control"
    assert alone(replace(RESET, sent=1, covered=1), closed, **near).reason == "loss"
    assert alone(RESET, closed).reason == "who-closed-it"
    assert alone(RESET, closed, **near, least_hops={PROD: 0}).reason == "who-closed-it", (
        "the host's own, by a shorter way"
    )
    far = replace(RESET, hops=1, sent=1, covered=1)
    assert alone(far, closed, **near).row == 8, "what is as far as the host is its own: nothing that loss could hide"


@pytest.mark.parametrize("reason", [Reason.HOST_UNREACH, Reason.NET_UNREACH, Reason.TTL_EXCEEDED, Reason.PROTO_UNREACH])
def test_a_dead_host_a_missing_route_and_a_loop_are_no_firewall(reason: Reason) -> None:
    assert alone(ROUTER).row == 17
    assert alone(replace(ROUTER, reason=reason, prohibited=0)).reachability is Reachability.UNKNOWN
    assert alone(replace(ROUTER, prohibited=3)).reachability is Reachability.UNKNOWN, "mixed"


def test_what_is_dead_inside_is_not_proven_by_refusals() -> None:
    assert alone(ROUTER, silence(ALONE, source_address="10.30.0.11")).reason == "silent-inside"
    dead = silence(ALONE, source_address="10.30.0.11", state=State.ERROR, reason=Reason.NO_NEIGHBOUR)
    assert alone(ROUTER, dead).reachability is Reachability.UNKNOWN


def test_a_udp_port_that_is_silent_inside_where_the_host_is_heard_is_the_hosts_icmp_limit() -> None:
    udp = replace(UDP, ports=SSH.ports, witness="", inside="prod-2")
    refused = replace(ROUTER, target=2, protocol=Protocol.UDP)
    silent = silence(udp, source_address="10.30.0.11", state=State.OPEN_FILTERED)
    closed = silence(ALONE, source_address="10.30.0.11", state=State.CLOSED, reason=Reason.RESET)
    for heard, row in ((silent,), 18), ((silent, closed), 17), ((silent, replace(closed, address="10.30.0.99")), 18):
        round_ = data(udp, replace(ALONE, inside="prod-2"), src=source(refused), insides=insides(*heard))
        assert [judge(e).row for key, _, e in conclude([round_]).cells if key.protocol is Protocol.UDP] == [row]


def test_an_older_agent_that_does_not_tell_by_what_copies_were_refused_proves_nothing_by_it() -> None:
    assert alone(replace(ROUTER, prohibited=0)).reachability is Reachability.UNKNOWN
    assert one(replace(ITSELF, prohibited_at_host=0), row=ARRIVED).reachability is Reachability.UNKNOWN


def test_a_host_that_refuses_by_its_own_policy_stops_what_arrives() -> None:
    assert (one(ITSELF, row=ARRIVED).reachability, one(ITSELF, row=ARRIVED).row) == (Reachability.BLOCKED_AT_HOST, 9)
    answered = one(replace(ITSELF, refused=1, prohibited_at_host=1), row=replace(ARRIVED, answered=True))
    assert (answered.reachability, answered.row) == (Reachability.ONE_WAY, 10)
    assert one(UNREACHABLE, row=ARRIVED).reason == "refused-by-endpoint", "it forwards to one that is down"


def test_a_refusal_that_a_bad_witness_saw_arrive_is_no_proof() -> None:
    sick = replace(HEALTHY, healthy=False, why="its capture lost 812 packets")
    found = verdicts(conclude([data(SSH, src=source(ITSELF), wit=(witness(ARRIVED, health=sick),))]))
    assert found["22"][0].reason == "heard-in-part"


def test_a_refusal_at_the_host_leans_on_controls_and_loss() -> None:
    bound = replace(HEALTHY, bound_tcp=SSH.ports)

    def said(observation: Observation, **changes: object) -> str:
        src = source(observation, **changes)
        ((_, _, e),) = conclude([data(SSH, src=src, wit=(witness(ARRIVED, health=bound),))]).cells
        return judge(e).reason

    assert said(ITSELF) == "admin-prohibited"
    assert said(replace(ITSELF, covered=0)) == "controls-stopped", "a ban rejects in the host's name, too"
    lossy = replace(CONTROL, answered=20)
    assert said(ITSELF, controls=(lossy,)) == "loss"
    (more,) = conclude([data(SSH, src=source(ITSELF, controls=(lossy,)), wit=(witness(ARRIVED),))]).followups
    assert more.copies > 0, "what it lacks is sent"


def test_what_a_host_ignores_behind_the_last_good_control_it_may_have_banned() -> None:
    """It arrives, as the capture stands before the host's own filter."""
    assert one(silence(SSH), row=ARRIVED).row == 11
    assert one(silence(SSH, covered=0), row=ARRIVED).reason == "controls-stopped"
    assert one(silence(SSH, covered=0), row=replace(ARRIVED, answered=True)).row == 10
    assert one(silence(SSH, covered=0), row=ARRIVED, controls=()).row == 11, "no control that could have stopped"


def test_a_packet_without_a_token_at_a_bad_witness_is_heard_in_part_too() -> None:
    sick = replace(HEALTHY, healthy=False, why="its capture lost 812 packets")
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from=DEV, source_port=40001, count=1)
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=22, source_address=DEV, source_port=40001)
    src = source(silence(SSH), kernel_flows=(sent,))
    for health, reason in (HEALTHY, "host-silent"), (sick, "heard-in-part"):
        wit = witness(untokened=(flow,), health=health)
        assert verdicts(conclude([data(SSH, src=src, wit=(wit,))]))["22"][0].reason == reason


def test_a_refusal_in_the_endpoints_name_that_the_host_knows_nothing_of_is_the_paths() -> None:
    assert (one(ITSELF).reachability, one(ITSELF).row) == (Reachability.BLOCKED, 15)
    assert one(ITSELF, host_hops={PROD: 1}).row == 15, "another host with the address stops it by a policy as well"
    assert one(UNREACHABLE).reason == "refused-by-endpoint", "another host would forward it"
    assert one(replace(UNREACHABLE, hops=0), host_hops={PROD: 1}).row == 15
    assert alone(ITSELF).reason == "refused-by-endpoint"


def test_a_datagram_at_a_served_port_that_is_not_answered_may_have_been_delivered() -> None:
    """As by a time server that answers its own network alone."""
    ntp = replace(UDP, ports=PortSet.parse("123"), inside="prod-2")
    row = replace(ARRIVED, target=2, protocol=Protocol.UDP, ports=ntp.ports)
    health = replace(HEALTHY, bound_udp=ntp.ports)
    unheard = silence(ntp, state=State.OPEN_FILTERED)

    def said(inside: State, reason: Reason) -> Verdict:
        heard = silence(ntp, source_address="10.30.0.11", state=inside, reason=reason)
        round_ = data(ntp, src=source(unheard), wit=(witness(row, health=health),), insides=insides(heard))
        return verdicts(conclude([round_]))["123"][0]

    answers = said(State.OPEN, Reason.UDP_RESPONSE)
    assert (answers.reachability, answers.reason) == (Reachability.UNKNOWN, "maybe-delivered")
    assert said(State.OPEN_FILTERED, Reason.NO_RESPONSE).row == 14, "a sink"


def test_what_is_closed_inside_and_open_outside_is_answered_before_the_host() -> None:
    """A proxy of one port leaves the canary clear."""
    target = replace(ALONE, canary=50000)
    canary = CanaryResult(target=1, address=PROD, port=50000, before=State.FILTERED, after=State.FILTERED)
    opened = silence(target, state=State.OPEN, reason=Reason.SYN_ACK, hops=0)
    closed = silence(target, source_address="10.30.0.11", state=State.CLOSED, reason=Reason.RESET)
    assert alone(opened, canaries=(canary,)).row == 2
    said = alone(opened, closed, canaries=(canary,))
    assert (said.reachability, said.reason) == (Reachability.UNKNOWN, "answered-elsewhere")
