"""What settles what is open is asked for as long as it may settle it, and no longer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reachability.arrival import ArrivalRow, CounterSlot, NoPortsGroup, Untokened
from reachability.evidence import Conclusion, conclude
from reachability.followups import MOST_CHALLENGES, MOST_GROUPS, MOST_OF_GROUP, FollowUp
from reachability.observation import KernelFlow, Observation, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, Reachability, Reason, RoundKind, State
from tests.support.round_data import DEV, HEALTHY, PROD, TCP, UDP, data, silence, source, verdicts, witness


def moved_for_half(*groups: PortSet) -> RoundData:
    """A round by groups, in each of which the host's counter moved for half of the copies: nothing is told."""
    rows = tuple(NoPortsGroup(target=2, ports=ports, arrived=4 * len(ports), moved=2 * len(ports)) for ports in groups)
    return data(UDP, src=source(), wit=(witness(groups=rows),), kind=RoundKind.NOPORTS)


def started(ports: str = "1-100") -> RoundData:
    row = ArrivalRow(target=2, address=PROD, protocol=Protocol.UDP, ports=PortSet.parse(ports), copies=4, last_copy=3)
    health = replace(HEALTHY, noports=200, udp_unbound=400)
    target = replace(UDP, ports=PortSet.parse(ports))
    return data(target, src=source(silence(target)), wit=(witness(row, health=health),))


def answered(asked: FollowUp, dropped: PortSet) -> RoundData:
    """What a host says whose firewall drops these ports, and whose other ones have no socket."""
    rows = []
    for target, ports in asked.groups:
        on = CounterSlot(seconds=0.2, arrived=len(ports), noports=len(ports - dropped))
        slots = (on, CounterSlot(seconds=0.2)) * 4
        rows.append(NoPortsGroup(target=target, ports=ports, arrived=4 * len(ports), moved=0, slots=slots))
    return data(*asked.targets, src=source(), wit=(witness(groups=tuple(rows)),), kind=RoundKind.NOPORTS)


def test_ports_that_nothing_tells_apart_are_asked_for_twice_and_then_stay_unknown() -> None:
    rounds = [started()]
    for groups in (1, 8):
        [asked] = conclude(rounds).followups
        assert asked.kind is RoundKind.NOPORTS
        assert len(asked.groups) == groups
        rounds.append(moved_for_half(*(ports for _, ports in asked.groups)))
    last = conclude(rounds)
    assert last.followups == (), "a third round would tell no more than the second"
    assert {verdict.reason for verdict, _ in verdicts(last).values()} == {"maybe-delivered"}, "neither green nor red"


def test_a_mixed_group_is_divided_until_its_ports_are_told_apart() -> None:
    rounds, dropped, sizes = [started()], PortSet.parse("1-41,43-100"), []
    while asked := conclude(rounds).followups:
        sizes.append([len(ports) for _, ports in asked[0].groups])
        rounds.append(answered(asked[0], dropped))
    assert sizes == [[100], [13] * 7 + [9], [1] * 13]
    found = verdicts(conclude(rounds))
    assert {ports: verdict.row for ports, (verdict, _) in found.items()} == {str(dropped): 12, "42": 14}


def test_what_is_mixed_through_and_through_ends_too() -> None:
    rounds, dropped = [started("1-4000")], PortSet.of(range(1, 4001, 2))
    while asked := conclude(rounds).followups:
        assert len(asked[0].groups) <= MOST_GROUPS
        rounds.append(answered(asked[0], dropped))
    assert len(rounds) == 3
    assert {verdict.reachability for verdict, _ in verdicts(conclude(rounds)).values()} == {Reachability.UNKNOWN}


def test_all_ports_of_a_sweep_go_in_groups_that_are_short_enough_for_a_slot() -> None:
    [asked] = conclude([started("1-65535")]).followups
    assert max(len(ports) for _, ports in asked.groups) == MOST_OF_GROUP
    assert PortSet.union(ports for _, ports in asked.groups) == PortSet.parse("1-65535")


SLOTS = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0)


def strange(ports: PortSet) -> tuple[Untokened, ...]:
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=0, came_from="10.20.0.9", source_port=40001, count=1)
    return tuple(replace(flow, port=port) for port in ports)


def challenged(asked: FollowUp, undecided: PortSet) -> RoundData:
    """Nothing came; to the undecided ports it was not seen to leave."""
    lacking = silence(TCP, str(undecided), state=State.ERROR, reason=Reason.LOCAL_ERROR, sent=0)
    src = source(
        *((lacking,) if undecided else ()), slots=SLOTS, slot_ms=200.0, slots_sent=tuple(2 * on for on in SLOTS)
    )
    return data(*asked.targets, src=src, wit=(witness(),), kind=RoundKind.CHALLENGE)


def through(ports: str, undecided: str = "") -> tuple[list[PortSet], Conclusion]:
    """What each challenge tries, behind a firewall that rewrites what goes to so many ports; and what comes out."""
    every = replace(TCP, ports=PortSet.parse(ports))
    rounds = [data(every, src=source(silence(every)), wit=(witness(untokened=strange(every.ports)),))]
    asked = []
    while (result := conclude(rounds)).followups:
        [follow] = result.followups
        assert follow.kind is RoundKind.CHALLENGE
        [target] = follow.targets
        asked.append(target.ports)
        rounds.append(challenged(follow, PortSet.parse(undecided) & target.ports))
    return asked, result


def test_ports_are_challenged_so_many_at_a_time_until_all_are_decided() -> None:
    asked, result = through("1-1000")
    assert [len(ports) for ports in asked] == [256, 256, 256, 232]
    assert PortSet.union(asked) == PortSet.parse("1-1000")
    assert {verdict.reachability for verdict, _ in verdicts(result).values()} == {Reachability.BLOCKED}


def test_beyond_what_a_round_challenges_it_says_how_many_are_left() -> None:
    asked, result = through("1-1100")
    assert len(asked) == MOST_CHALLENGES
    verdict, evidence = verdicts(result)["1025-1100"]
    assert verdict.reason == "undecided"
    assert evidence.no_witness_why == "76 such ports were not challenged, for a round challenges 1,024 at most"
    assert verdicts(result)["1-1024"][0].reachability is Reachability.BLOCKED


def test_a_challenge_that_fell_behind_is_made_up_for_slowly_and_not_for_ever() -> None:
    every = replace(TCP, ports=PortSet.parse("1-1000"))
    rounds = [data(every, src=source(silence(every)), wit=(witness(untokened=strange(every.ports)),))]
    busy = source(packets=200_000, duration_s=10.0)
    rates, asked = [], []
    while (result := conclude(rounds)).followups:
        [follow] = result.followups
        rates.append(follow.rate_pps)
        asked.append(len(follow.targets[0].ports))
        late = len(rounds) < 3
        rounds.append(
            data(*follow.targets, src=busy, kind=RoundKind.CHALLENGE) if late else challenged(follow, PortSet())
        )
    assert asked == [256, 256, 256, 256, 256, 232]
    assert rates[:3] == [None, 5000, 5000]
    assert {verdict.reachability for verdict, _ in verdicts(result).values()} == {Reachability.BLOCKED}

    rounds = rounds[:1]
    while (result := conclude(rounds)).followups:
        rounds.append(data(*result.followups[0].targets, src=busy, kind=RoundKind.CHALLENGE))
    assert len(rounds) == 1 + 3
    ((_, evidence),) = verdicts(result).values()
    assert evidence.no_witness_why == "1,000 such ports were not challenged, for its source was too busy to keep time"


def test_what_a_challenge_leaves_open_is_challenged_once_more_after_the_others() -> None:
    asked, result = through("1-300", "7,9")
    assert [str(ports) for ports in asked] == ["1-256", "7,9,257-300"]
    assert verdicts(result)["7,9"][0].reason == "undecided"
    assert verdicts(result)["7,9"][1].no_witness_why == "undecided", "none was left out"
    asked, result = through("1-20", "7,9")
    assert [str(ports) for ports in asked] == ["1-20", "7,9"]


def opened(target: Target, **more: Any) -> Observation:
    return silence(target, state=State.OPEN, reason=Reason.SYN_ACK, sent=1, covered=1, flows=1, **more)


def test_an_open_port_whose_packets_the_host_did_not_see_is_tried_by_connecting() -> None:
    """A SYN proxy shakes hands first and connects then: to a SYN alone it looks like a load balancer."""
    port = replace(TCP, ports=PortSet.parse("443"))
    main = data(port, src=source(opened(port)), wit=(witness(),))
    result = conclude([main])
    assert verdicts(result)["443"][0].reason == "answered-elsewhere"
    [asked] = result.followups
    assert (asked.kind, str(asked.targets[0].ports), str(asked.targets[0].first)) == (RoundKind.NORMAL, "443", "443")
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=443, source_address=DEV, source_port=40001)
    src = source(opened(port, way="raw+connect", kernel="open"), kernel_flows=(sent,))
    came = Untokened(
        address=PROD, protocol=Protocol.TCP, port=443, came_from=DEV, source_port=40001, count=1, answered=True
    )
    found = conclude([main, data(port, src=src, wit=(witness(untokened=(came,)),))])
    assert (verdicts(found)["443"][0].row, found.followups) == (1, ())
    elsewhere = conclude([main, data(port, src=src, wit=(witness(),))])
    assert (verdicts(elsewhere)["443"][0].row, elsewhere.followups) == (4, ()), "once: it is somebody else who answers"


def test_what_a_proxy_sends_from_another_address_is_challenged_by_connecting() -> None:
    port = replace(TCP, ports=PortSet.parse("443"))
    main = data(port, src=source(opened(port)), wit=(witness(),))
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=443, source_address=DEV, source_port=40001)
    src = source(opened(port, way="raw+connect", kernel="open"), kernel_flows=(sent,))
    came = strange(port.ports)
    [asked] = conclude([main, data(port, src=src, wit=(witness(untokened=came),))]).followups
    assert (asked.kind, str(asked.targets[0].first)) == (RoundKind.CHALLENGE, "443")


def test_few_ports_are_tried_by_connecting_and_neither_datagrams_nor_what_was_sent_so() -> None:
    every = replace(TCP, ports=PortSet.parse("1-300"))
    other = replace(every, id=3, source="10.10.0.11")
    [asked] = conclude([data(every, other, src=source(opened(every), opened(other)), wit=(witness(),))]).followups
    assert [str(target.ports) for target in asked.targets] == ["1-256"]
    udp = silence(UDP, state=State.OPEN, reason=Reason.UDP_RESPONSE)
    assert conclude([data(UDP, src=source(udp), wit=(witness(),))]).followups == ()
    assert conclude([data(every, src=source(opened(every, way="connect")), wit=(witness(),))]).followups == ()
