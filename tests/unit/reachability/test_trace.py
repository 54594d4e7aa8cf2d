"""What a trace shows: never more than the hops said and the witness saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reachability.arrival import ArrivalRow, WitnessHealth, WitnessReport
from reachability.observation import Hop, Target
from reachability.ports import PortSet
from reachability.trace import MOST_TTL, TRIES, copy_of, ends_the_way, follow, ttl_of
from reachability.vocabulary import Protocol, Reason, State

END, NEAR, FAR = "10.30.0.10", "10.10.0.1", "10.40.0.2"
SEEN_BY = Target(
    id=1, environment="prod", address=END, protocol=Protocol.TCP, ports=PortSet.parse("80"), witness="prod-1"
)
NOBODY = replace(SEEN_BY, witness="")
STATES = {Reason.SYN_ACK: State.OPEN, Reason.RESET: State.CLOSED}


def hop(ttl: int, address: str = "", reason: Reason = Reason.NO_RESPONSE, sent: int = 1) -> Hop:
    state = STATES.get(reason, State.FILTERED)
    return Hop(ttl=ttl, address=address, reason=reason, state=state, sent=sent, answers=1 if address else 0)


def silent(first: int) -> list[Hop]:
    return [hop(ttl, sent=TRIES) for ttl in range(first, MOST_TTL + 1)]


FIRST, SECOND = hop(1, NEAR, Reason.TTL_EXCEEDED), hop(2, FAR, Reason.TTL_EXCEEDED)
BEYOND = [hop(ttl, END, Reason.SYN_ACK) for ttl in range(4, MOST_TTL + 1)]


def witness(arrived: int = 0, first: int | None = None, healthy: bool = True, why: str = "") -> WitnessReport:
    rows = (ArrivalRow(target=1, address=END, protocol=Protocol.TCP, copies=arrived, first_copy=first),)
    return WitnessReport(
        round="r",
        agent="prod-1",
        arrivals=rows if arrived else (),
        health=(WitnessHealth(address=END, healthy=healthy, why=why),),
    )


def test_every_packet_of_a_trace_has_a_copy_number_of_its_own() -> None:
    numbers = [copy_of(ttl, attempt) for ttl in range(1, MOST_TTL + 1) for attempt in range(TRIES)]
    assert numbers == list(range(48))
    assert [ttl_of(copy_of(ttl, TRIES - 1)) for ttl in range(1, MOST_TTL + 1)] == list(range(1, MOST_TTL + 1))


def test_silence_and_a_router_do_not_end_the_way() -> None:
    assert [reason for reason in (Reason.TTL_EXCEEDED, Reason.NO_RESPONSE) if ends_the_way(reason)] == []
    assert all(ends_the_way(reason) for reason in (Reason.SYN_ACK, Reason.RESET, Reason.ADMIN_PROHIBITED))


OPEN = hop(3, END, Reason.SYN_ACK)
CASES = {
    "open, witnessed": (SEEN_BY, [FIRST, SECOND, OPEN, *BEYOND], witness(14, 6), True, None,
        f"{END} answers at hop 3 (syn-ack); prod-1's witness saw 14 of the 14 packets with TTL 3 and more"),
    "open, nobody there": (NOBODY, [FIRST, SECOND, OPEN], None, True, None,
        f"{END} answers at hop 3 (syn-ack); no agent on {END} to tell what arrives"),
    "answered on the way": (SEEN_BY, [FIRST, hop(2, END, Reason.SYN_ACK)], witness(), False, NEAR,
        (f"it stops at {NEAR} (hop 1) or behind it: something on the way answers in the name of {END} (syn-ack, TTL 2); "
        "prod-1's witness saw none of the 2 packets (TTL up to 2)")),
    "answered by what is next": (SEEN_BY, [hop(1, END, Reason.RESET)], witness(), False, None,
        f"something on the way answers in the name of {END} (reset, TTL 1); prod-1's witness saw none of the 1 packets (TTL up to 1)"),
    "reset, nobody there": (NOBODY, [FIRST, hop(2, END, Reason.RESET)], None, None, None,
        f"{END}, or a firewall in its name, answers at hop 2 (reset); no agent on {END} to tell what arrives"),
    "reset, witnessed": (SEEN_BY, [FIRST, hop(2, END, Reason.RESET)], witness(1, 3), True, None,
        f"{END} answers at hop 2 (reset); prod-1's witness saw 1 of the 1 packets with TTL 2 and more"),
    "dropped": (SEEN_BY, [FIRST, SECOND, *silent(3)], witness(), False, FAR,
        (f"it stops at {FAR} (hop 2) or behind it: from hop 3 on nothing answers; "
        "prod-1's witness saw none of the 44 packets (TTL up to 16)")),
    "dropped, nobody there": (NOBODY, [FIRST, *silent(2)], None, None, None,
        ("from hop 2 on nothing answers, which does not show where it stops: a router need not send ICMP; "
        f"no agent on {END} to tell what arrives")),
    "not one answer": (NOBODY, silent(1), None, None, None,
        ("nothing on the way answers, which does not show where it stops: a router need not send ICMP; "
        f"no agent on {END} to tell what arrives")),
    "not one answer, and none arrives": (SEEN_BY, silent(1), witness(), False, None,
        "it stops on the way: nothing on the way answers; prod-1's witness saw none of the 48 packets (TTL up to 16)"),
    "an unwell witness": (SEEN_BY, [FIRST, *silent(2)], witness(healthy=False, why="it lost packets"), None, None,
        ("from hop 2 on nothing answers, which does not show where it stops: a router need not send ICMP; "
        "prod-1's witness could not tell: it lost packets")),
    "the way back is dropped": (SEEN_BY, [FIRST, *silent(2)], witness(45, 3), True, None,
        f"it arrives, and {END} does not answer; prod-1's witness saw 45 of the 45 packets with TTL 2 and more"),
    "an older witness": (SEEN_BY, [FIRST, *silent(2)], witness(45), True, None,
        f"it arrives, and {END} does not answer; prod-1's witness saw 45 of the 46 packets with TTL 1 and more"),
    "refused by a router": (SEEN_BY, [FIRST, hop(2, NEAR, Reason.ADMIN_PROHIBITED)], witness(), False, NEAR,
        f"{NEAR} rejects it at TTL 2 (admin-prohibited); prod-1's witness saw none of the 2 packets (TTL up to 2)"),
    "refused, nobody there": (NOBODY, [FIRST, hop(2), hop(3, FAR, Reason.HOST_UNREACH)], None, False, FAR,
        f"{FAR} rejects it at TTL 3 (host-unreach); no agent on {END} to tell what arrives"),
    "refused by the host": (SEEN_BY, [FIRST, hop(2, END, Reason.PORT_UNREACH)], witness(1, 3), True, None,
        f"{END} itself rejects it, at hop 2 (port-unreach); prod-1's witness saw 1 of the 1 packets with TTL 2 and more"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_trace_shows(case: tuple[Target, list[Hop], WitnessReport | None, bool | None, str, str]) -> None:
    target, hops, report, reached, stops_after, text = case
    found = follow(target, hops, [report] if report else [])
    assert (found.reached, found.stops_after, found.text) == (reached, stops_after, text)


def test_hops_end_where_the_way_does_and_an_answer_counts_before_a_refusal() -> None:
    """Of several ways one may refuse and another let through."""
    found = follow(NOBODY, [FIRST, hop(2, NEAR, Reason.ADMIN_PROHIBITED), OPEN, *BEYOND], [])
    assert [h.ttl for h in found.hops] == [1, 2, 3]
    assert found.reached is True


def test_a_witness_that_does_not_report_tells_nothing() -> None:
    late = replace(witness(3, 3), late=True)
    for reports, why in (
        ([], "it did not report"),
        ([late], "it did not report"),
        ([WitnessReport(round="r", agent="prod-1", problems=("not armed here",))], "not armed here"),
        ([WitnessReport(round="r", agent="prod-1")], "it could not listen there"),
    ):
        found = follow(SEEN_BY, [FIRST, *silent(2)], reports)
        assert found.reached is None
        assert found.witness is not None
        assert (found.witness.healthy, found.witness.why) == (False, why)


def test_what_could_not_arrive_is_not_said_to_stop() -> None:
    """A way of more hops than there are TTLs, a loop, or an interface that takes no packets."""
    for hops, text in (
        (
            [hop(ttl, FAR, Reason.TTL_EXCEEDED) for ttl in range(1, MOST_TTL + 1)],
            "the way is longer than 16 hops, or a loop",
        ),
        ([], "no packet was seen to leave"),
    ):
        found = follow(SEEN_BY, hops, [witness()])
        assert (found.reached, found.stops_after, found.text) == (None, None, text)
    one_of_two_ways = [hop(ttl, FAR, Reason.TTL_EXCEEDED) for ttl in range(1, MOST_TTL + 1)]
    assert follow(SEEN_BY, one_of_two_ways, [witness(3, 6)]).reached is True
