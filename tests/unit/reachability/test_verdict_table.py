"""The verdict's whole table written a second time, as data, and held against `judge` over every combination that decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, product
from typing import Any, NamedTuple

import pytest

from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Canary, Proof, Protocol, Reachability, Reason, State

SEEN, NOT_SEEN, NO_WITNESS = Arrival.SEEN, Arrival.NOT_SEEN, Arrival.NO_WITNESS
ANY = (SEEN, NOT_SEEN, NO_WITNESS)
REPLIES = (State.OPEN, State.CLOSED)
ROUTED, DIRECT = "eth0 10.10.0.1", "eth0 direct"

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
    "not closed inside": lambda e: e.inside is not State.CLOSED,
    "not silent inside": lambda e: (
        e.inside is None
        or e.inside in REPLIES
        or (e.protocol is Protocol.UDP and e.inside is State.OPEN_FILTERED and e.inside_heard)
    ),
    "the same inside": lambda e: e.inside_same,
    "canary clear": lambda e: e.canary is Canary.CLEAR,
    "canary open": lambda e: e.canary is Canary.OPEN,
    "fewer hops than the host": lambda e: None not in (e.hops, e.host_hops) and e.hops < e.host_hops,  # type: ignore[operator]
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
    Row(2, "open, canary clear, not closed inside", (NO_WITNESS,), RED, Proof.REPLIED),
    Row(3, "open, canary open", (NO_WITNESS,), UNKNOWN),
    Row(4, "open", (NOT_SEEN,), UNKNOWN),
    Row(4, "closed, raw, nothing hides it, as many hops or more", (NOT_SEEN,), UNKNOWN),
    Row(5, "closed", (SEEN,), RED, Proof.REPLIED),
    *(
        Row(6, f"closed, raw, nothing hides it, source control, {who}", (NOT_SEEN,), BLOCKED, Proof.WITNESSED)
        for who in ("fewer hops than the host", "by the router beside the source")
    ),
    Row(
        7, "closed, raw, nothing hides it, source control, inside control, fewer hops than the host",
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


# -- every combination of what decides, answer by answer ------------------------------------------------------------------

Combination = Mapping[str, Any]
INSIDE = (None, *State)
PROTOCOLS = tuple(Protocol)
PROBLEMS = ("", "loss", "controls-stopped", "two-holders")
CONTROLS: Sequence[Combination] = tuple({"control": c, "covered": n} for c, n in product((False, True), (0, 4)))
DISTANCES: Sequence[Combination] = tuple(
    {"hops": hops, "host_hops": host, "via": via}
    for hops, host, via in product((None, 0, 1, 2), (None, 0, 1), (ROUTED, DIRECT))
)
OTHERS, HOST = {"refused_by": "10.0.0.1"}, {"endpoint_refused": True}
PROHIBITED, UNREACHABLE = {"reason": Reason.ADMIN_PROHIBITED}, {"reason": Reason.HOST_UNREACH}
REFUSALS: Sequence[Combination] = (
    {"reason": Reason.NO_RESPONSE},
    OTHERS | PROHIBITED | {"refused": 4, "prohibited": 4},
    OTHERS | PROHIBITED | {"refused": 4, "prohibited": 3},  # one of them by another code
    OTHERS | {"reason": Reason.PORT_UNREACH, "refused": 2, "prohibited": 2},
    OTHERS | UNREACHABLE | {"refused": 4},
    HOST | PROHIBITED | {"refused": 4, "prohibited_at_host": 4},
    HOST | PROHIBITED | {"refused": 1, "prohibited_at_host": 1},  # the others met by silence
    HOST | PROHIBITED | {"refused": 4, "prohibited_at_host": 2, "prohibited": 2},
    HOST | PROHIBITED | {"refused": 4, "prohibited_at_host": 3},
    HOST | UNREACHABLE | {"refused": 4},
    HOST | UNREACHABLE | {"refused": 4, "prohibited_at_host": 2},
)


def _each(name: str, values: Sequence[Any]) -> Sequence[Combination]:
    return tuple({name: value} for value in values)


def _all(base: Combination, *parts: Sequence[Combination]) -> Iterator[Evidence]:
    """Every combination; whatever the parts leave open is drawn, since it must not matter."""
    rng = random.Random(0)  # noqa: S311 - the same each time
    drawn = cycle([{name: rng.choice(values) for name, values in ELSE.items()} for _ in range(997)])
    for chosen in product(*parts):
        fields: dict[str, Any] = dict(next(drawn))
        for part in (base, *chosen):
            fields |= part
        yield Evidence(**fields)


ELSE: Mapping[str, Sequence[Any]] = {
    "protocol": PROTOCOLS,
    "reason": (Reason.RESET,),
    "sent": (4,),
    "covered": (0, 4),
    "flows": (1, 4),
    "refused": (0, 4),
    "hops": (None, 0, 1),
    "host_hops": (None, 1),
    "arrived": (0, 4),
    "answered": (False, True),
    "bound": (False, True),
    "noports_still": (None, False, True),
    "drops_still": (None, False, True),
    "undelivered": (None, False, True),
    "handed_on": (None, False, True),
    "inside": INSIDE,
    "inside_same": (False, True),
    "inside_heard": (False, True),
    "inside_once": (False, True),
    "canary": tuple(Canary),
    "control": (False, True),
    "no_witness_why": ("", "its capture lost packets"),
    "rtt_ms": (None, 1.0),
    "loss": (None, 0.2),
    "altered": ("", "sequence"),
}
SILENCE = {"sent": 4, "flows": 4, "refused": 0}
ELSE_STILL = tuple({"noports_still": still, "drops_still": still} for still in (None, False, True))


def _opened() -> Iterator[Evidence]:
    yield from _all(
        {"state": State.OPEN, "reason": Reason.SYN_ACK},
        _each("arrival", ANY), _each("canary", tuple(Canary)), _each("inside", INSIDE), _each("inside_same", (False, True)),
        _each("protocol", PROTOCOLS), _each("problem", PROBLEMS),
    )  # fmt: skip


def _closed() -> Iterator[Evidence]:
    reasons = ({"reason": Reason.RESET}, {"reason": Reason.CONN_REFUSED}, {"reason": Reason.RESET, "sent": 0})
    yield from _all(
        {"state": State.CLOSED},
        _each("arrival", ANY), reasons, DISTANCES, CONTROLS, _each("inside", INSIDE), _each("protocol", PROTOCOLS),
        _each("problem", PROBLEMS),
    )  # fmt: skip


def _not_seen() -> Iterator[Evidence]:
    sent = ({"sent": 0, "flows": 0}, {"sent": 4, "flows": 2}, {"sent": 4, "flows": 4})
    distances = [d for d in DISTANCES if (d["hops"], d["host_hops"]) in {(None, None), (0, None), (0, 1), (1, 1)}]
    yield from _all(
        {"state": State.FILTERED},
        _each("arrival", (NOT_SEEN, NO_WITNESS)), sent, REFUSALS, CONTROLS[1:], _each("inside", INSIDE),
        _each("protocol", PROTOCOLS), _each("problem", PROBLEMS[:2]), distances, _each("inside_heard", (False, True)),
    )  # fmt: skip


def _arrived() -> Iterator[Evidence]:
    yield from _all(
        {"arrival": SEEN} | SILENCE,
        ({"state": State.ERROR, "reason": Reason.LOCAL_ERROR}, *({"state": State.FILTERED, **r} for r in REFUSALS)), _each("protocol", PROTOCOLS), CONTROLS[1:],
        _each("no_witness_why", ELSE["no_witness_why"]), _each("answered", (False, True)), _each("bound", (False, True)),
        _each("inside", (None, State.OPEN, State.CLOSED, State.OPEN_FILTERED)), _each("problem", PROBLEMS),
        _each("undelivered", (None, False, True)), _each("handed_on", (None, False, True)), ELSE_STILL,
    )  # fmt: skip


@pytest.mark.parametrize("every", [_opened, _closed, _not_seen, _arrived])
def test_the_table_says_the_same(every: Callable[[], Iterator[Evidence]]) -> None:
    rows = set()
    for e in every():
        row, verdict = expected(e), judge(e)
        assert (verdict.row, verdict.reachability, verdict.proof) == (row.number, row.reachability, row.proof), (row, e)
        rows.add(row.number)
    assert rows == ROWS_OF[every.__name__]


ROWS_OF = {
    "_opened": {1, 2, 3, 4, 18},
    "_closed": {4, 5, 6, 7, 8, 18},
    "_not_seen": {15, 16, 17, 18},
    "_arrived": {9, 10, 11, 12, 13, 14, 18},
}
