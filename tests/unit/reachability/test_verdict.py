"""Every row of the verdict table, and what each of its conditions is there for."""

from dataclasses import replace
from typing import Any

import pytest

from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Canary, Proof, Protocol, Reachability, Reason, State

SILENT = Evidence(
    protocol=Protocol.TCP,
    state=State.FILTERED,
    reason=Reason.NO_RESPONSE,
    way="raw",
    via="eth0 10.10.0.1",
    sent=4,
    covered=4,
    flows=4,
    control=True,
)
OPEN = replace(SILENT, state=State.OPEN, reason=Reason.SYN_ACK)
CLOSED = replace(SILENT, state=State.CLOSED, reason=Reason.RESET)
REFUSED = replace(SILENT, reason=Reason.ADMIN_PROHIBITED, refused_by="10.0.0.1", refused=4, prohibited=4)
REFUSED_HERE = replace(REFUSED, endpoint_refused=True, prohibited=0, prohibited_at_host=4)
UDP = replace(SILENT, protocol=Protocol.UDP, state=State.OPEN_FILTERED)
SEEN: dict[str, Any] = {"arrival": Arrival.SEEN, "arrived": 4}
NOT_SEEN: dict[str, Any] = {"arrival": Arrival.NOT_SEEN}

UNKNOWN_ROW = 18
ROWS = [
    (1, replace(OPEN, **SEEN), Reachability.REACHABLE, Proof.REPLIED),
    (2, replace(OPEN, canary=Canary.CLEAR), Reachability.REACHABLE, Proof.REPLIED),
    (2, replace(OPEN, canary=Canary.OPEN, inside_same=True), Reachability.REACHABLE, Proof.REPLIED),
    (3, replace(OPEN, canary=Canary.OPEN), Reachability.UNKNOWN, Proof.NONE),
    (4, replace(OPEN, **NOT_SEEN), Reachability.UNKNOWN, Proof.NONE),
    (5, replace(CLOSED, **SEEN), Reachability.REACHABLE, Proof.REPLIED),
    (4, replace(CLOSED, hops=1, host_hops=1, **NOT_SEEN), Reachability.UNKNOWN, Proof.NONE),
    (4, replace(CLOSED, hops=2, host_hops=1, **NOT_SEEN), Reachability.UNKNOWN, Proof.NONE),
    (6, replace(CLOSED, hops=0, host_hops=1, **NOT_SEEN), Reachability.BLOCKED, Proof.WITNESSED),
    (6, replace(CLOSED, hops=0, **NOT_SEEN), Reachability.BLOCKED, Proof.WITNESSED),
    (7, replace(CLOSED, hops=0, host_hops=1, inside=State.CLOSED), Reachability.NO_SESSION, Proof.CONTROLLED),
    (8, replace(CLOSED, hops=1, host_hops=1, inside=State.CLOSED), Reachability.REACHABLE, Proof.INFERRED),
    (9, replace(REFUSED_HERE, **SEEN), Reachability.BLOCKED_AT_HOST, Proof.WITNESSED),
    (9, replace(REFUSED_HERE, bound=True, **SEEN), Reachability.BLOCKED_AT_HOST, Proof.WITNESSED),
    (10, replace(REFUSED_HERE, answered=True, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (11, replace(REFUSED_HERE, refused=1, prohibited_at_host=1, **SEEN), Reachability.BLOCKED_AT_HOST, Proof.WITNESSED),
    (10, replace(SILENT, answered=True, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (10, replace(REFUSED, answered=True, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (11, replace(SILENT, **SEEN), Reachability.BLOCKED_AT_HOST, Proof.WITNESSED),
    (
        12,
        replace(SILENT, protocol=Protocol.UDP, noports_still=True, undelivered=True, **SEEN),
        Reachability.BLOCKED_AT_HOST,
        Proof.WITNESSED,
    ),
    (
        13,
        replace(SILENT, bound=True, inside=State.OPEN, drops_still=True, **SEEN),
        Reachability.BLOCKED_AT_HOST,
        Proof.WITNESSED,
    ),
    (
        14,
        replace(SILENT, bound=True, inside=State.OPEN, drops_still=False, **SEEN),
        Reachability.ONE_WAY,
        Proof.WITNESSED,
    ),
    (14, replace(SILENT, bound=True, drops_still=True, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (14, replace(SILENT, protocol=Protocol.UDP, noports_still=False, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (14, replace(SILENT, protocol=Protocol.UDP, undelivered=False, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (14, replace(SILENT, handed_on=True, **SEEN), Reachability.ONE_WAY, Proof.WITNESSED),
    (
        13,
        replace(UDP, bound=True, inside=State.OPEN, drops_still=True, undelivered=True, **SEEN),
        Reachability.BLOCKED_AT_HOST,
        Proof.WITNESSED,
    ),
    (
        14,
        replace(UDP, bound=True, inside=State.OPEN_FILTERED, drops_still=True, **SEEN),
        Reachability.ONE_WAY,
        Proof.WITNESSED,
    ),
    (15, replace(SILENT, **NOT_SEEN), Reachability.BLOCKED, Proof.WITNESSED),
    (15, replace(REFUSED, **NOT_SEEN), Reachability.BLOCKED, Proof.WITNESSED),
    (16, replace(SILENT, inside=State.OPEN), Reachability.NO_SESSION, Proof.CONTROLLED),
    (16, replace(SILENT, inside=State.CLOSED), Reachability.NO_SESSION, Proof.CONTROLLED),
    (16, replace(SILENT, protocol=Protocol.UDP, inside=State.OPEN), Reachability.NO_SESSION, Proof.CONTROLLED),
    (15, replace(REFUSED_HERE, **NOT_SEEN), Reachability.BLOCKED, Proof.WITNESSED),
    (
        15,
        replace(REFUSED_HERE, reason=Reason.HOST_UNREACH, prohibited_at_host=0, hops=0, host_hops=1, **NOT_SEEN),
        Reachability.BLOCKED,
        Proof.WITNESSED,
    ),
    (17, REFUSED, Reachability.NO_SESSION, Proof.REFUSED),
    (17, replace(REFUSED, protocol=Protocol.UDP, inside=State.CLOSED), Reachability.NO_SESSION, Proof.REFUSED),
    (
        17,
        replace(REFUSED, protocol=Protocol.UDP, inside=State.OPEN_FILTERED, inside_heard=True),
        Reachability.NO_SESSION,
        Proof.REFUSED,
    ),
]


@pytest.mark.parametrize(("row", "evidence", "reachability", "proof"), ROWS)
def test_row(row: int, evidence: Evidence, reachability: Reachability, proof: Proof) -> None:
    verdict = judge(evidence)
    assert (verdict.row, verdict.reachability, verdict.proof) == (row, reachability, proof)


UNKNOWN = [
    ("no-source-control", replace(SILENT, control=False, **NOT_SEEN)),
    ("no-source-control", replace(SILENT, covered=0, **NOT_SEEN)),
    ("no-source-control", replace(SILENT, control=False, inside=State.OPEN)),
    ("no-source-control", replace(REFUSED, control=False)),
    ("no-source-control", replace(CLOSED, hops=0, host_hops=1, control=False, **NOT_SEEN)),
    ("no-source-control", replace(CLOSED, hops=0, host_hops=1, covered=0, **NOT_SEEN)),
    ("no-source-control", replace(CLOSED, hops=0, host_hops=1, inside=State.CLOSED, covered=0)),
    ("not-sent", replace(SILENT, sent=0, **NOT_SEEN)),
    ("loss", replace(SILENT, problem="loss", **NOT_SEEN)),
    ("loss", replace(SILENT, problem="loss", inside=State.OPEN)),
    ("undecided", replace(CLOSED, problem="undecided")),
    ("undecided", replace(OPEN, problem="undecided")),
    ("silent-inside", replace(SILENT, inside=State.FILTERED)),
    ("no-inside-control", SILENT),
    ("closed-inside", replace(SILENT, protocol=Protocol.UDP, inside=State.CLOSED)),
    ("no-inside-control", replace(SILENT, protocol=Protocol.UDP, inside=State.ERROR)),  # no neighbour there, say
    ("no-inside-control", replace(REFUSED, refused=2, prohibited=2, sent=2, flows=2)),
    ("no-inside-control", replace(REFUSED, refused=3, prohibited=3)),
    ("no-inside-control", replace(REFUSED, reason=Reason.HOST_UNREACH, prohibited=0)),  # a dead host, say
    ("no-inside-control", replace(REFUSED, prohibited=3)),  # one copy met something else
    ("no-inside-control", replace(REFUSED, inside=State.ERROR)),  # no neighbour there: the host is dead
    ("silent-inside", replace(REFUSED, inside=State.FILTERED, inside_heard=True)),
    ("silent-inside", replace(REFUSED, protocol=Protocol.UDP, inside=State.OPEN_FILTERED)),
    ("refused-by-endpoint", REFUSED_HERE),
    # By the host, but not by a policy: it hands the packets on to one that it does not reach.
    ("refused-by-endpoint", replace(REFUSED_HERE, reason=Reason.HOST_UNREACH, prohibited_at_host=0, **SEEN)),
    ("refused-by-endpoint", replace(REFUSED_HERE, prohibited_at_host=3, **SEEN)),
    ("refused-by-endpoint", replace(REFUSED_HERE, reason=Reason.HOST_UNREACH, prohibited_at_host=0, **NOT_SEEN)),
    # A few of the copies refused, the others met by silence at a port that is served.
    ("refused-by-endpoint", replace(REFUSED_HERE, refused=1, prohibited_at_host=1, bound=True, **SEEN)),
    ("loss", replace(REFUSED_HERE, bound=True, problem="loss", **SEEN)),
    ("refused-by-endpoint", replace(REFUSED_HERE, bound=True, covered=0, **SEEN)),
    ("refused-by-endpoint", replace(REFUSED_HERE, bound=True, control=False, **SEEN)),
    ("heard-in-part", replace(REFUSED_HERE, no_witness_why="its capture lost packets", **SEEN)),
    ("heard-in-part", replace(SILENT, no_witness_why="its capture lost packets", **SEEN)),
    ("controls-stopped", replace(SILENT, problem="controls-stopped", **SEEN)),
    # An application that answers insiders alone has got the datagram.
    ("maybe-delivered", replace(UDP, bound=True, inside=State.OPEN, drops_still=True, **SEEN)),
    ("maybe-delivered", replace(UDP, bound=True, inside=State.OPEN, drops_still=False, **SEEN)),
    ("answered-elsewhere", replace(OPEN, canary=Canary.CLEAR, inside=State.CLOSED)),
    ("answered-elsewhere", replace(OPEN, protocol=Protocol.UDP, canary=Canary.CLEAR, inside=State.OPEN_FILTERED)),
    ("who-closed-it", replace(CLOSED, hops=1, **NOT_SEEN)),
    ("who-closed-it", replace(CLOSED, **NOT_SEEN)),
    ("who-closed-it", replace(CLOSED, hops=0, via="eth0 direct", **NOT_SEEN)),
    ("who-closed-it", replace(CLOSED, hops=0, inside=State.CLOSED)),
    ("who-closed-it", replace(CLOSED, hops=0, host_hops=1)),
    ("no-source-control", replace(CLOSED, hops=0, host_hops=1, inside=State.CLOSED, control=False)),
    ("who-closed-it", replace(CLOSED, hops=1, host_hops=1, inside=State.OPEN)),
    ("refused-by-someone", replace(CLOSED, reason=Reason.CONN_REFUSED, **NOT_SEEN)),
    ("no-canary", OPEN),
    ("resolve-failed", replace(SILENT, state=State.ERROR, reason=Reason.RESOLVE_FAILED)),
    ("no-permission", replace(SILENT, state=State.ERROR, reason=Reason.NO_PERMISSION, **NOT_SEEN)),
]


@pytest.mark.parametrize(("reason", "evidence"), UNKNOWN)
def test_row_18_says_why(reason: str, evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert (verdict.row, verdict.reachability, verdict.proof) == (18, Reachability.UNKNOWN, Proof.NONE)
    assert verdict.reason == reason


def test_a_copy_that_arrived_counts_though_the_source_had_an_error() -> None:
    verdict = judge(replace(SILENT, state=State.ERROR, reason=Reason.LOCAL_ERROR, answered=True, **SEEN))
    assert verdict.reachability is Reachability.ONE_WAY


@pytest.mark.parametrize("row", [entry for entry in ROWS if entry[0] in {6, 7, 9, 15, 16, 17}])
def test_no_green_by_silence_under_a_problem(row: tuple[int, Evidence, Reachability, Proof]) -> None:
    said = judge(replace(row[1], problem="loss", bound=True))
    assert not said.green
    assert said.row == UNKNOWN_ROW


UDP_SEEN = replace(SILENT, protocol=Protocol.UDP, **SEEN)
SERVED: dict[str, Any] = {"bound": True, "inside": State.OPEN, "drops_still": True}


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        # NAT on the host may have led it to another port or to a container: NoPorts stands still then as well.
        (replace(UDP_SEEN, noports_still=True), "maybe-delivered"),
        (replace(UDP_SEEN, undelivered=True), "maybe-delivered"),
        (replace(UDP_SEEN, noports_still=None), "maybe-delivered"),
        # An application may have got it, and ignore strangers.
        (replace(UDP_SEEN, **SERVED), "maybe-delivered"),
        (replace(SILENT, handed_on=None, **SEEN), "may-be-handed-on"),
        (replace(SILENT, protocol=Protocol.ICMP, handed_on=None, **SEEN), "may-be-handed-on"),
        (replace(SILENT, handed_on=None, **SERVED, **SEEN), "may-be-handed-on"),
    ],
)
def test_the_hosts_own_firewall_is_not_what_stopped_it_unless_nothing_on_the_host_got_it(
    evidence: Evidence, reason: str
) -> None:
    verdict = judge(evidence)
    assert (verdict.reachability, verdict.row, verdict.reason) == (Reachability.UNKNOWN, 18, reason)
    assert judge(replace(evidence, no_witness_why="it armed late")).reason == "heard-in-part"


def test_udp_that_a_bound_socket_is_shown_not_to_have_got_was_stopped_by_the_host() -> None:
    verdict = judge(replace(UDP_SEEN, undelivered=True, **SERVED))
    assert (verdict.reachability, verdict.row) == (Reachability.BLOCKED_AT_HOST, 13)


def test_what_was_handed_on_is_no_matter_of_a_missing_socket() -> None:
    assert judge(replace(SILENT, handed_on=True, **SERVED, **SEEN)).row == 14
