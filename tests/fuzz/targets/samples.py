"""Real messages, to begin with: made by the code that makes them."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec

from reachability.observation import ControlTarget, Lookup
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from tests.fuzz.targets import identity
from tests.fuzz.targets.batches import BATCHES
from tests.fuzz.targets.rows import HERE, KEY, NORMAL, SIX, TARGETS, TCP, THERE
from wire.codec import encode
from wire.columns import encode_batch
from wire.envelope import MOST_SMALL_BYTES
from wire.messages import Ack, Arm, Armed, Close, Done, Go, Plan, Renew, Renewed, Resolve, Resolved, Status, Stop

UP = (
    Status(
        name="dev-1",
        environment="dev",
        online=True,
        version="0.1.0",
        addresses=(HERE, "::1"),
        raw=True,
        rate_pps=1000,
        refused=("x",),
        sent_at=1.8e9,
        traces=True,
        instance="ab34",
        number=2,
        untold=1,
        certificate_from=1.79e9,
        certificate_until=1.8e9,
        generation=identity.GENERATION,
        challenge=b"c" * 16,
        **identity.OWN,  # type: ignore[arg-type]
    ),
    Armed(round="r", agent="prod-1", ok=False, problems=("no",)),
    Done(round="r", agent="dev-1", sequence=3, tail_s=2.0),
    Renew(request=b"0"),
    Resolved(
        id="1",
        lookups=(Lookup(name="db.prod.internal", addresses=(THERE, SIX)), Lookup(name="x", problem="no such name")),
    ),
)
DOWN = (
    Plan(
        digest="d",
        rate_pps=500,
    ),
    Resolve(id="1", names=("db.prod.internal",)),
    Arm(
        round="r",
        key=KEY,
        kind=NORMAL,
        source="dev-1",
        targets=TARGETS,
        inside=TARGETS[:2],
        networks=("10.30.0.0/24",),
        groups=((2, PortSet.parse("60-70")),),
    ),
    Go(
        round="r",
        key=KEY,
        kind=NORMAL,
        targets=TARGETS,
        networks=("10.10.0.0/24",),
        controls=(ControlTarget(address="10.99.0.1", protocol=TCP, port=8883),),
        groups=((2, PortSet.parse("60-70")),),
    ),
    Close(round="r"),
    Stop(reason="enough"),
    Ack(spool="ab12", sequence=7),
    Renewed(certificate=b"-----BEGIN", problem=""),
)


def bodies() -> list[bytes]:
    """The msgpack of every message up, and of some that nobody sends."""
    head = {"type": "batch", "spool": "s", "sequence": 1, "age_s": 0.0}
    columns: list[Any] = [
        {"target": 1},
        {"target": [1], "address": []},
        {"target": [1], "address": ["::1"], "protocol": ["tcp"], "copies": [1], "ports": ["," * 300_000]},
    ]
    forged = [
        msgspec.msgpack.encode({**head, "witnesses": [{"round": "r", "agent": "a", "arrivals": one}]})
        for one in columns
    ]
    gap = {"first": 1, "last": 4, "reports": 4, "why": "disk", "begun_age_s": 9.0, "ended_age_s": 1.0}
    gaps: list[list[dict[str, Any]]] = [
        [gap], [gap] * 257, [{**gap, "first": 0}], [{**gap, "last": 0}], [{**gap, "why": "x" * 65}], [{**gap, "reports": -1}],
        [{**gap, "begun_age_s": 1e99}], [{**gap, "last": 2**54}],
    ]  # fmt: skip
    forged += [msgspec.msgpack.encode({**head, "sequence": 5, "gaps": one}) for one in gaps]
    forged += [msgspec.msgpack.encode({**head, name: 0}) for name in ("sequence", "oldest")]
    for table, column, value in (
        ("untokened", "port", 0),
        ("untokened", "source_port", 70_000),
        ("arrivals", "address", "x"),
        ("kept", "at_ms", float("inf")),
        ("health", "noports", 2**63),
    ):
        whole = msgspec.msgpack.decode(encode_batch(BATCHES[2]))
        rows = whole["witnesses"][0][table]
        rows[column] = [value] * len(rows[column])
        rows.pop("ports", None)
        forged.append(msgspec.msgpack.encode(whole))
    return [*forged, *(encode_batch(one) for one in BATCHES), *map(encode, UP)]


def messages() -> list[bytes]:
    """The same, and one that is too large for what it is."""
    return [*bodies(), bytes(MOST_SMALL_BYTES + 1)]


def assert_sane(value: Any) -> None:
    """What whoever takes a message may count on, said independently of `wire.bounds`."""
    match value:
        case Enum() | bool() | None:
            return
        case PortSet():
            assert value == ICMP_CELL or not value - ALL_PORTS, value
        case int():
            assert -(2**53) < value < 2**53, value
        case float():
            assert math.isfinite(value), value
            assert abs(value) <= 1e11, value
        case str():
            assert value.isprintable(), value
            assert len(value) <= 256 * 1024
        case bytes():
            assert len(value) <= 4096
        case tuple() | list() | dict():
            for one in value:
                assert_sane(one)
                if isinstance(value, dict):
                    assert_sane(value[one])
        case _:
            for name in [f.name for f in fields(value)] if is_dataclass(value) else value.__struct_fields__:
                held = getattr(value, name)
                assert_sane(held)
                if name in {"port", "source_port", "canary"}:
                    assert 0 <= held <= 65535, held
