"""Whether a host's stack got what its witness saw arrive: by its counters over the round, and in slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reachability.arrival import ArrivalRow, CounterSlot, NoPortsGroup, WitnessHealth
from reachability.delivery import moved
from reachability.evidence import conclude
from reachability.observation import Observation, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, Reachability, RoundKind, State
from tests.support.round_data import HEALTHY, PROD, TCP, UDP, data, insides, silence, source, verdicts, witness

STILL = replace(HEALTHY, udp_unbound=400, delivered=0, forwarded=0)


def arrived(target: Target, health: WitnessHealth, *, inside: State | None = None) -> RoundData:
    """A round of which every copy came to the host, and nothing back."""
    row = ArrivalRow(
        target=target.id, address=PROD, protocol=target.protocol, ports=target.ports, copies=4, last_copy=3
    )
    seen: tuple[Observation, ...] = () if inside is None else (silence(target, state=inside),)
    asked = replace(target, inside="prod-2")
    return data(asked, src=source(silence(target)), wit=(witness(row, health=health),), insides=insides(*seen))


def slots(on: list[tuple[int, int]], off: int = 0, *, of: str = "noports") -> tuple[CounterSlot, ...]:
    """On-slots of (copies, how far the counter moved), with off-slots between in which it moved by `off`."""
    between = CounterSlot(seconds=0.2, **{of: off})
    return tuple(s for n, by in on for s in (CounterSlot(seconds=0.2, arrived=n, **{of: by}), between))


def in_slots(target: Target, **by: list[int]) -> RoundData:
    """A NoPorts round of one group, four on-slots: by how much each counter moved in these, a copy a port having come."""
    size = len(target.ports)
    on = [CounterSlot(seconds=0.2, arrived=size, **{name: counts[n] for name, counts in by.items()}) for n in range(4)]
    both = tuple(s for one in on for s in (one, CounterSlot(seconds=0.2)))
    group = NoPortsGroup(target=target.id, ports=target.ports, arrived=4 * size, moved=0, slots=both)
    return data(target, src=source(), wit=(witness(groups=(group,), health=None),), kind=RoundKind.NOPORTS)


def rows(*rounds: RoundData) -> set[tuple[int, str]]:
    return {(verdict.row, verdict.reason) for verdict, _ in verdicts(conclude(rounds)).values()}


@pytest.mark.parametrize(
    ("on", "off", "told"),
    [
        ([(9, 0)] * 4, 0, False),
        ([(9, 0)] * 4, 50, False),  # what others do between the slots is no matter
        ([(9, 9)] * 4, 0, True),
        ([(9, 11)] * 4, 2, True),  # somebody else's among ours
        ([(9, 9)] * 4, 9, None),  # as much between the slots: it may all be others'
        ([(9, 5)] * 4, 0, None),  # of some ports, or of some copies
        ([(9, 0), (9, 2), (9, 0), (9, 0)], 3, False),  # noise in one of them
        ([(9, 0), (9, 2), (9, 0), (9, 0)], 0, None),  # a firewall that lets a few copies through, for all that is known
        ([(9, 0), (9, 2), (9, 1), (9, 0)], 3, None),
        ([(9, 9), (9, 9), (9, 9), (9, 0)], 0, None),
        ([(9, 0)] * 2, 0, None),
        ([], 3, None),
    ],
)
def test_a_counter_in_slots(on: list[tuple[int, int]], off: int, told: bool | None) -> None:
    assert moved(slots(on, off), lambda slot: slot.noports) is told


def test_without_a_stretch_between_the_slots_nothing_is_ours() -> None:
    on = tuple(CounterSlot(seconds=0.2, arrived=9, noports=9) for _ in range(4))
    assert moved(on, lambda slot: slot.noports) is None


@pytest.mark.parametrize("why", [{"delivered": 40}, {"delivered": None}, {"forwards": True, "forwarded": 40}])
def test_a_udp_port_without_a_socket_may_be_redirected_by_its_host(why: dict[str, Any]) -> None:
    """NoPorts stands still for it: a datagram that NAT on the host leads to another port or a container has a socket there."""
    begun = arrived(UDP, replace(STILL, **why))
    assert rows(begun) == {(18, "maybe-delivered")}
    [asked] = conclude([begun]).followups
    assert asked.groups == ((UDP.id, UDP.ports),)


def test_a_host_of_which_no_counter_moved_stopped_it_and_no_further_round_is_needed() -> None:
    begun = arrived(UDP, STILL)
    assert rows(begun) == {(12, "host-silent")}
    assert conclude([begun]).followups == ()
    handing_on = arrived(UDP, replace(STILL, forwards=True))
    assert rows(handing_on) == {(12, "host-silent")}, "it forwards, but forwarded nothing"


def test_what_the_slots_say_of_a_redirected_port() -> None:
    begun = arrived(UDP, replace(STILL, delivered=1234, forwards=True, forwarded=99))
    still, all_of_it = [0] * 4, [100] * 4
    assert rows(begun, in_slots(UDP, noports=still)) == {(12, "host-silent")}
    assert rows(begun, in_slots(UDP, delivered=all_of_it)) == {(14, "no-answer")}
    assert rows(begun, in_slots(UDP, forwarded=all_of_it)) == {(14, "no-answer")}
    assert rows(begun, in_slots(UDP, delivered=[1, 0, 2, 40])) == {(18, "maybe-delivered")}
    assert rows(begun, in_slots(UDP, noports=all_of_it)) == {(14, "no-answer")}


def test_one_round_of_groups_does_not_take_back_what_another_showed() -> None:
    begun = arrived(UDP, replace(STILL, delivered=1234))
    shown, vague = in_slots(UDP, delivered=[100] * 4), in_slots(UDP, delivered=[1, 2, 3, 4])
    for later in ((shown, vague), (vague, shown), (shown, in_slots(UDP)), (in_slots(UDP), shown)):
        assert rows(begun, *later) == {(14, "no-answer")}


def test_local_noise_in_noports_makes_a_host_firewall_neither_red_nor_green() -> None:
    """A client on the host that sends to a dead port of `lo`: captured there, and counted with the rest."""
    begun = arrived(UDP, replace(STILL, noports=500, udp_unbound=540, delivered=0))
    assert rows(begun) == {(18, "maybe-delivered")}
    noisy = [CounterSlot(seconds=0.2, arrived=n, noports=20) for n in (100, 0) * 4]
    group = NoPortsGroup(target=UDP.id, ports=UDP.ports, arrived=400, moved=80, slots=tuple(noisy))
    told = data(UDP, src=source(), wit=(witness(groups=(group,), health=None),), kind=RoundKind.NOPORTS)
    assert rows(begun, told) == {(18, "maybe-delivered")}


def test_all_that_was_captured_and_counted_found_no_socket() -> None:
    assert rows(arrived(UDP, replace(STILL, noports=400))) == {(14, "no-answer")}


def test_groups_of_an_older_agent_tell_nothing() -> None:
    begun = arrived(UDP, replace(STILL, noports=40, delivered=None))
    group = NoPortsGroup(target=UDP.id, ports=UDP.ports, arrived=400, moved=0)
    old = data(UDP, src=source(), wit=(witness(groups=(group,)),), kind=RoundKind.NOPORTS)
    assert rows(begun, old) == {(18, "maybe-delivered")}


@pytest.mark.parametrize("health", [HEALTHY, replace(STILL, delivered=0)])
def test_a_udp_service_that_is_silent_to_strangers_is_green_only_where_it_did_not_get_the_datagram(
    health: WitnessHealth,
) -> None:
    bound = replace(health, bound_udp=UDP.ports, udp_unbound=0)
    begun = arrived(UDP, bound, inside=State.OPEN)
    if health is HEALTHY:  # its counters are not known
        assert rows(begun) == {(18, "maybe-delivered")}
        got = (begun, in_slots(UDP, delivered=[100] * 4))
        assert rows(*got) == {(14, "no-answer")}, "it ignores strangers, and got what they sent"
        assert conclude(got).followups == ()
        assert rows(begun, in_slots(UDP)) == {(13, "host-silent")}
    else:
        assert rows(begun) == {(13, "host-silent")}


def test_ports_with_and_without_a_socket_are_not_of_one_group() -> None:
    served = PortSet.parse("53")
    begun = arrived(UDP, replace(STILL, delivered=3, bound_udp=served), inside=State.OPEN)
    [asked] = conclude([begun]).followups
    assert asked.groups == ((UDP.id, UDP.ports - served), (UDP.id, served))


@pytest.mark.parametrize("target", [TCP, replace(TCP, protocol=Protocol.ICMP, ports=ICMP_CELL)])
def test_what_a_host_that_forwards_did_not_answer_it_may_have_handed_on(target: Target) -> None:
    begun = arrived(target, replace(STILL, forwards=True, forwarded=7))
    assert rows(begun) == {(18, "may-be-handed-on")}
    [asked] = conclude([begun]).followups
    assert (asked.kind, asked.groups) == (RoundKind.NOPORTS, ((target.id, target.ports),))
    size = len(target.ports)
    assert rows(begun, in_slots(target, forwarded=[size] * 4)) == {(14, "no-answer")}
    assert rows(begun, in_slots(target, noports=[3, 1, 4, 1])) == {(11, "host-silent")}


def test_a_host_that_does_not_forward_or_handed_nothing_on_stopped_it_itself() -> None:
    for health in (replace(STILL, forwarded=7), replace(STILL, forwards=True)):
        assert rows(arrived(TCP, health)) == {(11, "host-silent")}
    assert rows(arrived(TCP, replace(STILL, forwards=None, forwarded=None))) == {(18, "may-be-handed-on")}


def test_without_a_witness_nothing_is_known() -> None:
    [(verdict, evidence)] = verdicts(conclude([data(UDP, src=source(silence(UDP)))])).values()
    assert (verdict.reachability, evidence.undelivered) == (Reachability.UNKNOWN, None)


def test_the_counters_of_a_round_say_nothing_of_a_copy_that_came_after_it() -> None:
    row = ArrivalRow(target=2, address=PROD, protocol=Protocol.UDP, ports=PortSet.parse("53"), copies=1)
    begun = arrived(replace(UDP, ports=PortSet.parse("7")), STILL)
    late = witness(row, health=None, late=True)
    both = replace(UDP, ports=PortSet.parse("7,53"))
    [report] = begun.witnesses
    round_ = data(both, src=source(silence(both)), wit=(report, late))
    found = {ports: (v.row, v.reason) for ports, (v, _) in verdicts(conclude([round_])).items()}
    assert found == {"7": (12, "host-silent"), "53": (18, "maybe-delivered")}
    [asked] = conclude([round_]).followups
    assert asked.groups == ((UDP.id, PortSet.parse("53")),)
