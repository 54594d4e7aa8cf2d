"""The verdict's whole table written a second time, as data, and held against `judge` over every combination that decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Canary, Proof, Protocol, Reachability, Reason, State
from tests.support.combinations import ANY, NO_WITNESS, NOT_SEEN, ROUTED, SEEN, arrived, closed, not_seen, opened

REPLIES = (State.OPEN, State.CLOSED)

# What the table's words mean. Each is a plain reading of one phrase of docs/verdict.md.
WORDS: Mapping[str, Callable[[Evidence], object]] = {
    "open": lambda e: e.state is State.OPEN,
    "closed": lambda e: e.state is State.CLOSED,
    "silence or refused": lambda e: e.state in {State.FILTERED, State.OPEN_FILTERED},
    "an error": lambda e: e.state is State.ERROR,
    "TCP or ICMP": lambda e: e.protocol in {Protocol.TCP, Protocol.ICMP},
    "UDP": lambda e: e.protocol is Protocol.UDP,
    "nothing hides it": lambda e: e.problem == "",
    "no ban": lambda e: e.problem != "controls-stopped",
    "raw": lambda e: e.sent and e.reason is not Reason.CONN_REFUSED,
    "source control": lambda e: e.control and e.covered,
    "answered inside": lambda e: (
        e.inside is State.OPEN or (e.protocol is not Protocol.UDP and e.inside is State.CLOSED)
    ),
    "inside control": lambda e: WORDS["answered inside"](e) and not e.inside_once,
    "before alone": lambda e: e.inside_once,
    "two holders": lambda e: e.problem == "two-holders",
    "no inside control": lambda e: not WORDS["inside control"](e),
    "closed inside": lambda e: e.inside is State.CLOSED,
    "unserved inside": lambda e: (
        e.inside is State.CLOSED or (e.protocol is Protocol.UDP and e.inside is State.OPEN_FILTERED)
    ),
    "not unserved inside": lambda e: not WORDS["unserved inside"](e),
    "not silent inside": lambda e: (
        e.inside is None
        or e.inside in REPLIES
        or (e.protocol is Protocol.UDP and e.inside is State.OPEN_FILTERED and e.inside_heard)
    ),
    "the same inside": lambda e: e.inside_same,
    "canary clear": lambda e: e.canary is Canary.CLEAR,
    "canary open": lambda e: e.canary is Canary.OPEN,
    "fewer hops than the host": lambda e: None not in (e.hops, e.host_hops) and e.hops < e.host_hops,  # type: ignore[operator]
    "nor is it the host's by a shorter way": lambda e: e.least_hops is None or e.hops < e.least_hops,  # type: ignore[operator]
    "as many hops as the host": lambda e: e.hops is not None and e.hops == e.host_hops,
    "as many hops or more": lambda e: None not in (e.hops, e.host_hops) and e.hops >= e.host_hops,  # type: ignore[operator]
    "by the router beside the source": lambda e: e.host_hops is None and e.hops == 0 and e.via == ROUTED,
    "not by the endpoint": lambda e: not e.endpoint_refused,
    "by the endpoint": lambda e: e.endpoint_refused,
    "a policy's code": lambda e: e.reason in {Reason.ADMIN_PROHIBITED, Reason.PORT_UNREACH},
    "policy codes alone": lambda e: e.refused == e.prohibited + e.prohibited_at_host,
    "every copy prohibited by the endpoint": lambda e: e.sent and e.prohibited_at_host == e.sent,
    "every copy prohibited by others": lambda e: e.sent and e.prohibited == e.sent,
    "three flows": lambda e: min(e.flows, e.sent) >= 3,  # noqa: PLR2004
    "the host answered": lambda e: e.answered,
    "the host answered nothing": lambda e: not e.answered and not e.no_witness_why,
    "a socket": lambda e: e.bound,
    "no socket": lambda e: not e.bound,
    "NoPorts still": lambda e: e.noports_still,
    "drops still": lambda e: e.drops_still,
    "no drops": lambda e: not e.drops_still,
    "drops still or untold": lambda e: e.drops_still or (e.protocol is Protocol.UDP and e.undelivered is None),
    "nothing shown": lambda e: e.undelivered is not False and not e.handed_on,
    "NoPorts moved": lambda e: e.noports_still is False,
    "shown undelivered": lambda e: e.undelivered is True,
    "shown delivered": lambda e: e.undelivered is False,
    "handed on": lambda e: e.handed_on is True,
    "not handed on": lambda e: e.handed_on is False,
}


class Row(NamedTuple):
    """One line: of the whole list the first counts whose words all hold."""

    number: int
    words: str
    arrivals: Sequence[Arrival]
    reachability: Reachability
    proof: Proof = Proof.NONE


SILENT = "silence or refused, not by the endpoint"
RED, BLOCKED = Reachability.REACHABLE, Reachability.BLOCKED
AT_HOST, NO_SESSION = Reachability.BLOCKED_AT_HOST, Reachability.NO_SESSION
ONE_WAY, UNKNOWN = Reachability.ONE_WAY, Reachability.UNKNOWN
HERE = "by the endpoint, a policy's code, policy codes alone"  # a host's firewall that says so
_AT_HOST = (
    (11, "TCP or ICMP, no socket, not handed on"),
    (12, "UDP, no socket, NoPorts still, shown undelivered"),
    (13, "TCP or ICMP, a socket, inside control, drops still, not handed on"),
    (13, "UDP, a socket, inside control, drops still, shown undelivered"),
)


def _silent(words: str) -> tuple[str, ...]:
    """Silence, a refusal by others, or an error behind copies that arrived; and the endpoint's own policy for some copies."""
    return tuple(f"{answer}, {words}" for answer in (SILENT, f"silence or refused, {HERE}", "an error"))


TABLE = (
    Row(1, "open", (SEEN,), RED, Proof.REPLIED),
    Row(2, "open, the same inside", (NO_WITNESS,), RED, Proof.REPLIED),
    Row(2, "open, canary clear, not unserved inside", (NO_WITNESS,), RED, Proof.REPLIED),
    Row(3, "open, canary open", (NO_WITNESS,), UNKNOWN),
    Row(4, "open", (NOT_SEEN,), UNKNOWN),
    Row(4, "closed, raw, nothing hides it, as many hops or more", (NOT_SEEN,), UNKNOWN),
    Row(5, "closed", (SEEN,), RED, Proof.REPLIED),
    *(
        Row(6, f"closed, raw, nothing hides it, source control, {who}", (NOT_SEEN,), BLOCKED, Proof.WITNESSED)
        for who in ("fewer hops than the host", "by the router beside the source")
    ),
    Row(
        7, "closed, raw, nothing hides it, source control, inside control, fewer hops than the host, nor is it the host's by a shorter way",
        (NO_WITNESS,), NO_SESSION, Proof.CONTROLLED,
    ),
    Row(8, "closed, raw, nothing hides it, closed inside, as many hops as the host", (NO_WITNESS,), RED, Proof.INFERRED),
    *(Row(10, f"{answer}, the host answered", (SEEN,), ONE_WAY, Proof.WITNESSED) for answer in ("silence or refused", "an error")),
    Row(
        9, f"silence or refused, {HERE}, every copy prohibited by the endpoint, the host answered nothing, "
        "source control, nothing hides it",
        (SEEN,), AT_HOST, Proof.WITNESSED,
    ),
    *(
        Row(number, words, (SEEN,), AT_HOST, Proof.WITNESSED)
        for number, at_host in _AT_HOST
        for words in _silent(f"{at_host}, the host answered nothing, no ban")
    ),
    # What would be green, were the witness whole and nobody banned.
    *(
        Row(18, words, (SEEN,), UNKNOWN)
        for _, at_host in _AT_HOST
        for words in _silent(at_host)
    ),
    Row(18, "silence or refused, by the endpoint", (SEEN,), UNKNOWN),
    *(
        Row(18, f"{answer}, a socket, nothing shown, {words}", (SEEN,), UNKNOWN)
        for answer in (SILENT, "an error")
        for words in ("two holders", "answered inside, before alone, drops still or untold")
    ),
    *(
        Row(14, f"{answer}, {words}", (SEEN,), ONE_WAY, Proof.WITNESSED)
        for answer in (SILENT, "an error")
        for words in (
            "TCP or ICMP, handed on", "UDP, shown delivered", "UDP, no socket, NoPorts moved",
            "TCP or ICMP, a socket, no drops", "UDP, a socket, shown undelivered, no drops",
            "a socket, no inside control",
        )
    ),
    *(Row(18, answer, (SEEN,), UNKNOWN) for answer in (SILENT, "an error")),  # a service on the host, or behind it, may have it
    *(
        Row(15, f"silence or refused, {who}, raw, nothing hides it, source control", (NOT_SEEN,), BLOCKED, Proof.WITNESSED)
        for who in (
            "not by the endpoint",
            "by the endpoint, a policy's code",
            "by the endpoint, fewer hops than the host",
            "by the endpoint, by the router beside the source",
        )
    ),
    Row(16, f"{SILENT}, raw, nothing hides it, source control, inside control", (NO_WITNESS,), NO_SESSION, Proof.CONTROLLED),
    Row(
        17, f"{SILENT}, raw, nothing hides it, source control, every copy prohibited by others, three flows, not silent inside",
        (NO_WITNESS,), NO_SESSION, Proof.REFUSED,
    ),
    Row(18, "", ANY, UNKNOWN),
)  # fmt: skip


_READ = {
    arrival: [
        (row, [WORDS[word] for word in row.words.split(", ") if word]) for row in TABLE if arrival in row.arrivals
    ]
    for arrival in ANY
}


def expected(e: Evidence) -> Row:
    """The first row whose words hold."""
    return next(row for row, words in _READ[e.arrival] if all(holds(e) for holds in words))


@pytest.mark.parametrize("every", [opened, closed, not_seen, pytest.param(arrived, marks=pytest.mark.long)])
def test_the_table_says_the_same(every: Callable[[], Iterator[Evidence]]) -> None:
    rows = set()
    for e in every():
        row, verdict = expected(e), judge(e)
        assert (verdict.row, verdict.reachability, verdict.proof) == (row.number, row.reachability, row.proof), (row, e)
        rows.add(row.number)
    assert rows == ROWS_OF[every.__name__]


ROWS_OF = {
    "opened": {1, 2, 3, 4, 18},
    "closed": {4, 5, 6, 7, 8, 18},
    "not_seen": {15, 16, 17, 18},
    "arrived": {9, 10, 11, 12, 13, 14, 18},
}
