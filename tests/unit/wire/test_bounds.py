"""Messages that read and that no honest sender has: each ended a coordinator or an agent before it was refused."""

import math
import tracemalloc
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from nacl.signing import SigningKey

from reachability.arrival import ArrivalRow, CounterSlot, NoPortsGroup, WitnessHealth, WitnessReport
from reachability.observation import ControlResult, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from wire.bounds import MOST_AGE_S, MOST_TEXT
from wire.columns import MOST_ROWS
from wire.envelope import MOST_BYTES, BadMessage, pack_up, seal, unpack_up
from wire.messages import Arm, Batch, Go, Plan, Resolved, Status
from wire.signing import Refused, open_down, pack_down

KEY, NOW = SigningKey(b"\1" * 32), 1_800_000_000.0
HEAD = {"type": "batch", "spool": "s", "sequence": 1, "age_s": 0.0}
FLOW = {"address": ["::1"], "protocol": ["tcp"], "port": [22], "came_from": ["::1"], "source_port": [9], "count": [1]}
SEEN: dict[str, list[Any]] = {"target": [1], "address": ["::1"], "protocol": ["tcp"], "copies": [1], "ports": ["22"]}

GROUP: dict[str, Any] = {"target": [1], "ports": ["53"], "arrived": [4], "moved": [0]}


def witnessed(**tables: Any) -> dict[str, Any]:
    return {**HEAD, "witnesses": [{"round": "r", "agent": "a", **tables}]}


def status(**fields: Any) -> dict[str, Any]:
    return {"type": "status", "name": "a", "environment": "e", "online": True, **fields}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({**HEAD, "sequence": 2**63}, "sequence of Batch is 9223372036854775808, out of range"),
        ({**HEAD, "oldest": -1}, "oldest of Batch is -1, out of range"),
        ({**HEAD, "age_s": math.nan}, "age_s of Batch is nan, out of range"),
        (witnessed(listened_s=math.inf), "listened_s of WitnessReport is inf, out of range"),
        (witnessed(untokened={**FLOW, "port": [70_000]}), "port of Untokened is 70000, out of range"),
        (
            witnessed(untokened={**FLOW, "times_ms": [[2**60]]}),
            "times_ms of Untokened is 1152921504606846976, out of range",
        ),
        (
            witnessed(untokened={**FLOW, "came_from": ["fe80::1%\x1b[2J"]}),
            r"came_from of Untokened is not an address: 'fe80::1%\\x1b\[2J'",
        ),
        (witnessed(arrivals={**SEEN, "ports": ["0-70000"]}), "port range 0-70000 is not within"),
        (witnessed(arrivals={**SEEN, "ports": ["9" * 300_000]}), "ports are a text of 300000 characters"),
        (
            witnessed(groups={**GROUP, "slots": [[{"seconds": 0.2, "delivered": -1}]]}),
            "delivered of CounterSlot is -1, out of range",
        ),
        (
            witnessed(groups={**GROUP, "slots": [[{"seconds": math.nan}]]}),
            "seconds of CounterSlot is nan, out of range",
        ),
        (witnessed(groups={**GROUP, "slots": [[{"seconds": 0.2}] * 1025]}), "slots of NoPortsGroup has 1025 entries"),
        (witnessed(arrivals={**SEEN, "copies": [10**6]}), "copies of ArrivalRow is 1000000, out of range"),
        (
            witnessed(arrivals={name: cell * 5 for name, cell in SEEN.items()}),
            "arrivals speaks of a port of target 1 more than 4 times",
        ),
        (
            witnessed(kept={"target": [1], "what": ["sent"], "at_ms": [0.0], "data": ["A" * 4000]}),
            "data of KeptPacket has 3000 bytes",
        ),
        (
            status(addresses=["nowhere"]),
            "addresses of Status is not an address",
        ),
        (status(number=2**53), "number of Status is 9007199254740992, out of range"),
        (status(challenge=bytes(65)), "challenge of Status has 65 bytes"),
        (status(certificate=bytes(2049)), "certificate of Status has 2049 bytes"),
        (status(key=bytes(33)), "key of Status has 33 bytes"),
        (status(proof=bytes(129)), "proof of Status has 129 bytes"),
        (
            {"type": "resolved", "id": "1", "lookups": [{"name": "x", "addresses": ["10.0.0.1 "]}]},
            "addresses of Lookup is not an address",
        ),
    ],
)
def test_what_no_agent_sends(message: dict[str, Any], words: str) -> None:
    with pytest.raises(BadMessage, match=words):
        unpack_up(b"\x01\x00" + msgspec.msgpack.encode(message))


def test_texts_are_cleaned_and_cut() -> None:
    said = Status(name="a", environment="e", online=True, lacks="\x1b[2J\u202e", refused=("x" * 5000, "fine"))
    read = unpack_up(pack_up(said))
    assert isinstance(read, Status)
    assert read.lacks == "\\x1b[2J\\u202e"
    assert (len(read.refused[0]), read.refused[1]) == (MOST_TEXT, "fine")


def test_an_error_is_short_and_printable() -> None:
    with pytest.raises(BadMessage) as caught:
        unpack_up(b"\x01\x00" + msgspec.msgpack.encode({"type": "\x1b]0;" + "x" * 9000}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(("age", "taken"), [(-5.0, 0.0), (1.7e9, MOST_AGE_S)])
def test_an_agent_whose_clock_stood_still_is_not_refused(age: float, taken: float) -> None:
    read = unpack_up(pack_up(Batch(spool="s", sequence=1, age_s=age)))
    assert isinstance(read, Batch)
    assert read.age_s == taken


@pytest.mark.parametrize(
    "cells",
    [
        b"\xdd" + (8 * 1024 * 1024).to_bytes(4, "big") + b"\x90" * (8 * 1024 * 1024),
        b"\xdd" + (MOST_ROWS + 1).to_bytes(4, "big") + b"\x01" * (MOST_ROWS + 1),
    ],
    ids=["lists", "numbers"],
)
def test_columns_make_no_gigabyte_of_objects(cells: bytes) -> None:
    message = msgspec.msgpack.encode(witnessed(groups={"target": msgspec.Raw(cells), "later": msgspec.Raw(cells)}))
    assert len(message) < MOST_BYTES + 1024 * 1024
    payload = (
        seal(message)
        if len(message) <= MOST_BYTES
        else seal(msgspec.msgpack.encode(witnessed(groups={"target": msgspec.Raw(cells)})))
    )
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match="rows in a batch, 300000 are taken"):
            unpack_up(payload)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_BYTES
    finally:
        tracemalloc.stop()


def test_a_word_that_a_newer_agent_adds_does_not_cost_its_report() -> None:
    seen = Observation(
        target=1, source_address="::1", address="::2", protocol=Protocol.TCP, state=State.OPEN, reason=Reason.SYN_ACK,
        ports=PortSet.parse("22"), way="xdp", kernel="reset",
    )  # fmt: skip
    control = ControlResult(address="::3", protocol=Protocol.TCP, kind="neighbour")
    row = ArrivalRow(
        target=1, address="::2", protocol=Protocol.TCP, copies=1, ports=PortSet.parse("22"), altered="window"
    )
    batch = Batch(
        spool="s",
        sequence=1,
        age_s=0.0,
        sources=(SourceReport(round="r", agent="a", observations=(seen,), controls=(control,)),),
        witnesses=(WitnessReport(round="r", agent="b", arrivals=(row,)),),
    )
    assert unpack_up(pack_up(batch)) == batch


def test_rows_and_what_stands_beside_them_come_through() -> None:
    health = WitnessHealth(address="::1", healthy=True, noports=-1, delivered=0, forwarded=7, forwards=True)
    slots = (CounterSlot(seconds=0.2, arrived=4, delivered=1), CounterSlot(seconds=0.25))
    group = NoPortsGroup(target=1, ports=PortSet.parse("53"), arrived=4, moved=0, slots=slots)
    report = WitnessReport(
        round="r", agent="a", health=(health,), groups=(group, replace(group, target=2, slots=())), problems=("a", "b")
    )
    batch = Batch(
        spool="s",
        sequence=1,
        age_s=0.0,
        sources=(SourceReport(round="r", agent="a", host_hops={"::1": 2}),),
        witnesses=(report,),
    )
    assert unpack_up(pack_up(batch)) == batch


def target(**more: Any) -> Target:
    return Target(
        **{"id": 1, "environment": "prod", "address": "10.30.0.21", "protocol": Protocol.TCP, "ports": "22", **more}
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=(target(ports="22-1"),)), "22-1 is not within"),
        (
            Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=(target(canary=70_000),)),
            "canary of Target is 70000",
        ),
        (Go(round="r", key=b"k", kind=RoundKind.NORMAL, targets=()), "key of Go has 1 bytes"),
        (
            Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="x", networks=("10.0.0.1/8",)),
            "has host bits set",
        ),
        (
            Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="x", groups=((1, cast("PortSet", "x")),)),
            "'x' is not a port",
        ),
        (Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="x", ttl_s=math.nan), "ttl_s of Arm is nan"),
        (Plan(digest="d", rate_pps=-1), "rate_pps of Plan is -1"),
    ],
)
def test_orders_that_make_no_sense_are_refused_though_signed(body: Any, words: str) -> None:
    with pytest.raises(BadMessage, match=f"message (makes no sense|cannot be read): .*{words}"):
        open_down(KEY.verify_key, pack_down(KEY, "dev-1", 5, body, NOW), agent="dev-1")


def test_a_letter_that_never_expires_is_refused() -> None:
    with pytest.raises(Refused, match="expires of SignedOrder is nan"):
        open_down(
            KEY.verify_key,
            pack_down(KEY, "dev-1", 5, Plan(digest="d"), NOW, expires_s=math.nan),
            agent="dev-1",
        )


def test_a_letter_repeats_no_more_than_a_challenge() -> None:
    with pytest.raises(Refused, match="echo of SignedOrder has 65 bytes"):
        open_down(KEY.verify_key, pack_down(KEY, "dev-1", 5, Plan(digest="d"), NOW, echo=bytes(65)), agent="dev-1")


def test_an_empty_answer() -> None:
    assert unpack_up(pack_up(Resolved(id="1", lookups=()))) == Resolved(id="1", lookups=())
