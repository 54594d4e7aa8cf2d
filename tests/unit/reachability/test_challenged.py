"""What a challenge says of a port, and of no other; and whether the host answered what was ours."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from reachability.arrival import Untokened
from reachability.challenge import MOST_GROUPS, known
from reachability.evidence import conclude
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Verdict, judge
from reachability.vocabulary import Protocol, Reachability, Reason, RoundKind, State
from tests.support.round_data import CONTROL, PROD, TCP, data, silence, source, verdicts, witness

SLOTS = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0)
SENT = tuple(2 * on for on in SLOTS)
OURS = tuple(1000 + index * 200 + extra for index, on in enumerate(SLOTS) if on for extra in (20, 90))
FLOW = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="10.20.0.9", source_port=40001, count=1)
HTTP = replace(FLOW, port=80)


def main() -> RoundData:
    """A round in which packets without a token came in at ports 22 and 80."""
    return data(TCP, src=source(silence()), wit=(witness(untokened=(FLOW, HTTP)),))


def challenge(ports: str, *flows: Untokened, **more: Any) -> RoundData:
    narrow = replace(TCP, ports=PortSet.parse(ports))
    asked = source(**({"slots": SLOTS, "slot_ms": 200.0, "slots_sent": SENT} | more))
    return data(narrow, src=asked, wit=(witness(untokened=flows),), kind=RoundKind.CHALLENGE)


def of_port_22(*flows: Untokened, **more: Any) -> Verdict:
    """The verdict after a challenge of it in which these came in."""
    cells = conclude([main(), challenge("22", *flows, **more)]).cells
    return next(judge(e) for _, ports, e in cells if 22 in ports)


def test_a_challenge_says_nothing_of_a_port_that_it_did_not_try() -> None:
    """Nothing comes to port 80 while port 22 alone is tried: that is no proof that port 80 is shut."""
    found = verdicts(conclude([main(), challenge("22")]))
    assert (found["80"][0].reason, found["22"][0].reachability) == ("undecided", Reachability.BLOCKED)
    both = verdicts(conclude([main(), challenge("22,80")]))
    assert both["22,80"][0].reachability is Reachability.BLOCKED


def test_an_answer_to_ours_that_did_not_come_back_is_one_way_and_silence_is_not() -> None:
    mine = replace(FLOW, count=len(OURS), times_ms=OURS)
    silent, answered = of_port_22(mine), of_port_22(replace(mine, answered=True))
    assert (silent.reachability, silent.row) == (Reachability.BLOCKED_AT_HOST, 11)
    assert (answered.reachability, answered.row) == (Reachability.ONE_WAY, 10)


def test_what_comes_to_another_port_protocol_or_host_is_not_this_ports() -> None:
    mine = replace(FLOW, count=len(OURS), times_ms=OURS)
    others = replace(mine, port=80), replace(mine, protocol=Protocol.UDP), replace(mine, address="10.30.0.11")
    assert of_port_22(*others).reachability is Reachability.BLOCKED


def test_an_answer_to_somebody_else_is_none_to_ours() -> None:
    mine = replace(FLOW, count=len(OURS), times_ms=OURS)
    other = replace(FLOW, came_from="10.20.0.7", times_ms=(700, 2900), count=2, answered=True)
    assert of_port_22(mine, other).reachability is Reachability.BLOCKED_AT_HOST
    assert of_port_22(replace(mine, address="10.30.0.11")).reachability is Reachability.BLOCKED, (
        "nor what came to another"
    )


def test_what_was_not_seen_to_leave_is_not_missed() -> None:
    """No route then, no neighbour, a full queue: nothing arrives, and that says nothing of the firewall."""
    assert of_port_22().reachability is Reachability.BLOCKED
    assert of_port_22(slots_sent=()).reason == "undecided", "a report of an older agent, or one without a capture"
    assert of_port_22(slots_sent=(0,) * len(SLOTS)).reason == "undecided"
    assert of_port_22(slots_sent=SLOTS).reason == "undecided", "one packet in each where there should be two"
    assert of_port_22(slots_sent=SENT[:10]).reachability is Reachability.BLOCKED, "half of them"
    assert of_port_22(slots_sent=SENT[:9]).reason == "undecided"


def test_a_port_to_which_the_packets_did_not_leave_stays_undecided_and_the_others_do_not() -> None:
    lacking = silence(TCP, "22", state=State.ERROR, reason=Reason.LOCAL_ERROR, sent=0, covered=0, flows=0)
    sent = challenge("22,80")
    assert sent.source is not None
    sent = replace(sent, source=replace(sent.source, observations=(lacking,)))
    found = verdicts(conclude([main(), sent]))
    assert (found["22"][0].reason, found["80"][0].reachability) == ("undecided", Reachability.BLOCKED)


def test_what_fills_the_slots_that_were_seen_to_leave_may_be_ours() -> None:
    """Half of the slots were not seen to leave: what came in the others is no less ours for that."""
    half = tuple(2 * (on and index < 12) for index, on in enumerate(SLOTS))
    few = replace(FLOW, times_ms=OURS[:6], count=6)
    assert of_port_22(few).reachability is Reachability.BLOCKED, "three of ten slots"
    assert of_port_22(few, slots_sent=half).reason == "undecided"
    mine = replace(FLOW, times_ms=OURS, count=len(OURS))
    assert of_port_22(mine, slots_sent=half).reachability is Reachability.BLOCKED_AT_HOST


def test_the_loss_of_another_host_or_protocol_leaves_a_challenge_as_it_is() -> None:
    lossy = replace(CONTROL, kind="pair", address="10.30.0.11", sent=100, answered=40, ended_good=True)
    src = {"controls": (CONTROL, replace(lossy, protocol=Protocol.ICMP))}
    assert of_port_22(**src).reachability is Reachability.BLOCKED
    assert of_port_22(controls=(CONTROL, replace(lossy, address=PROD))).reason == "undecided"


def test_what_one_challenge_has_seen_stays_seen() -> None:
    mine = replace(FLOW, times_ms=OURS, count=len(OURS), answered=True)
    for rounds in ([challenge("22", mine), challenge("22")], [challenge("22"), challenge("22", mine)]):
        assert verdicts(conclude([main(), *rounds]))["22"][0].reachability is Reachability.ONE_WAY
    unsure = [challenge("22", slots_sent=()), challenge("22")]
    assert verdicts(conclude([main(), *unsure]))["22"][0].reachability is Reachability.BLOCKED


def test_a_challenge_of_another_host_says_nothing() -> None:
    other = replace(challenge("22"), witnesses=(witness(health=None),))
    assert verdicts(conclude([main(), other]))["22,80"][0].reason == "undecided"


def thinned(ports: range, loss: float, seed: int) -> list[Untokened]:
    """What comes of ours to so many open ports."""
    drawn = random.Random(seed)
    flows = []
    for port in ports:
        times = tuple(at for at in OURS if drawn.random() >= loss)
        if times:
            flows.append(replace(FLOW, port=port, times_ms=times, count=len(times)))
    return flows


def rewritten(loss: float, seed: int, few: int = 3) -> dict[int, Verdict]:
    """The verdict of each port, 1-40 open and 41-80 shut, behind a firewall that takes the tokens off and loses packets.

    Controls lose nothing, for they go elsewhere. A witness puts flows of fewer than `few` packets together.
    """
    every = replace(TCP, ports=PortSet.parse("1-80"))
    strange = tuple(replace(FLOW, port=port) for port in every.ports)
    first = data(every, src=source(silence(every)), wit=(witness(untokened=strange),))
    flows = [
        flow if flow.count >= few else replace(flow, source_port=0, flows=2, largest=flow.count)
        for flow in thinned(range(1, 41), loss, seed)
    ]
    cells = conclude([first, challenge("1-80", *flows)]).cells
    return {port: judge(e) for _, ports, e in cells for port in ports}


@pytest.mark.parametrize("loss", [0.3, 0.5, 0.7, 0.85])
def test_what_a_rewriting_path_loses_is_told_by_the_ports_together(loss: float) -> None:
    """A queue that was full: half of the packets, or more, and not one control. Each port by itself had too few to tell."""
    for seed in range(20):
        found = rewritten(loss, seed)
        assert [port for port in range(1, 41) if found[port].green and found[port].row != 11] == []
        assert [port for port in range(41, 81) if found[port].row == 11] == []
        assert sum(found[port].row == 11 for port in range(1, 41)) >= (35 if loss < 0.8 else 15)
    clean = rewritten(0.0, 1)
    assert {clean[port].row for port in range(1, 41)} == {11}
    assert {clean[port].row for port in range(41, 81)} == {15}


def test_behind_nat_with_a_port_for_each_connection_nothing_that_may_be_ours_is_called_not_seen() -> None:
    for seed in range(20):
        found = rewritten(0.6, seed, few=21)
        assert [port for port in range(1, 41) if found[port].green and found[port].row != 11] == []


def test_a_stranger_behind_the_same_nat_is_not_taken_for_us() -> None:
    mine = thinned(range(1, 41), 0.0, 1)
    stranger = replace(FLOW, port=60, source_port=5, times_ms=(700, 2100, 2900), count=3)
    every = replace(TCP, ports=PortSet.parse("1-80"))
    strange = tuple(replace(FLOW, port=port) for port in every.ports)
    first = data(every, src=source(silence(every)), wit=(witness(untokened=strange),))
    cells = conclude([first, challenge("1-80", *mine, stranger)]).cells
    assert {judge(e).row for _, ports, e in cells if 60 in ports} == {15}
    few = replace(stranger, source_port=0, flows=3, largest=1)
    cells = conclude([first, challenge("1-80", *mine, few)]).cells
    assert [judge(e).reason for _, ports, e in cells if 60 in ports] == ["undecided"], (
        "by which port it came is not known"
    )


def test_packets_of_many_senders_or_years_apart_make_nobody_us() -> None:
    times = {(f"10.20.0.{n}", 1): OURS for n in range(MOST_GROUPS + 1)}
    assert known(SLOTS, 200.0, times) == set()
    assert known(SLOTS, 200.0, {("10.20.0.9", 1): (*OURS, 2**53)}) == set()
    assert known((), 0.0, {("10.20.0.9", 1): OURS}) == set()
    assert known(SLOTS, 200.0, {("10.20.0.9", 1): OURS}) == {("10.20.0.9", 1)}


@pytest.mark.parametrize(("answered", "row"), [(True, 10), (False, 11)])
def test_where_too_many_send_to_one_port_the_others_are_told_one_by_one(answered: bool, row: int) -> None:
    mine = replace(FLOW, times_ms=OURS, count=len(OURS), answered=answered)
    crowd = [replace(HTTP, source_port=n, times_ms=tuple(at + n for at in OURS), count=20) for n in range(300)]
    found = conclude([main(), challenge("22,80", mine, *crowd)]).cells
    assert {str(ports): judge(e).row for _, ports, e in found if ports & PortSet.parse("22,80")} == {
        "22": row,
        "80": 18,
    }
