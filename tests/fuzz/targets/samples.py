"""Real messages, to begin with: made by the code that makes them."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import msgspec

from reachability.observation import (
    CanaryResult,
    ControlTarget,
    Lookup,
    SourceReport,
    Untokened,
    WitnessReport,
)
from reachability.vocabulary import Reason, State
from tests.fuzz.targets import identity
from tests.fuzz.targets.rows import (
    ARRIVALS,
    CHALLENGE,
    CONTROLS,
    HEALTH,
    HERE,
    HOPS,
    KEPT,
    KEY,
    NOPORTS,
    NORMAL,
    OBSERVATIONS,
    SIX,
    TARGETS,
    TCP,
    THERE,
    TIMES,
    source,
    witness,
)
from wire.columns import encode_batch
from wire.messages import (
    Ack,
    Arm,
    Armed,
    Batch,
    Close,
    Done,
    Go,
    Plan,
    Renew,
    Renewed,
    Resolve,
    Resolved,
    Status,
    Stop,
)


def batch(*reports: SourceReport | WitnessReport, sequence: int = 7) -> Batch:
    sources = tuple(r for r in reports if isinstance(r, SourceReport))
    return Batch(
        spool="ab12",
        sequence=sequence,
        age_s=0.5,
        oldest=3,
        sources=sources,
        witnesses=tuple(r for r in reports if isinstance(r, WitnessReport)),
    )


PATTERN = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0)
ON_TIMES = tuple(number * 150 + 20 for number, on in enumerate(PATTERN) if on)
_CHALLENGED = tuple(
    Untokened(
        address=THERE,
        protocol=TCP,
        port=port,
        came_from="10.10.0.99",
        source_port=41_000,
        count=10,
        times_ms=TIMES,
        answered=True,
        largest=10,
    )
    for port in (90, 91, 95)
)
INSIDE = SourceReport(round="r", agent="prod-2", role="inside", observations=OBSERVATIONS[:2])
BATCHES = (
    batch(source(NORMAL)),
    batch(witness(NORMAL)),
    batch(source(NORMAL), witness(NORMAL), INSIDE),
    batch(source(NORMAL), source(CHALLENGE), witness(NORMAL), witness(CHALLENGE), witness(NORMAL, late=True)),
    batch(source(NORMAL, uncaptured=3), witness(NORMAL), source(NOPORTS), witness(NOPORTS, problems=("no\x1b[1m",))),
    batch(),
    batch(
        source(NORMAL, controls=(), canaries=(), trace=(), kept=KEPT),
        witness(NORMAL, health=(replace(HEALTH, noports=0),), arrivals=ARRIVALS[1:], kept=()),
    ),
    batch(
        source(NORMAL, canaries=(), observations=OBSERVATIONS[:1]),
        witness(NORMAL, health=(replace(HEALTH, noports=2, bound_udp=""),)),
        witness(NORMAL, late=True, arrivals=ARRIVALS[:1]),
    ),
    batch(
        source(
            NORMAL,
            observations=(
                replace(OBSERVATIONS[2], kernel="not-sent"),
                replace(OBSERVATIONS[3], way="connect"),
                replace(OBSERVATIONS[4], reason=Reason.LOCAL_FILTER),
            ),
        ),
        INSIDE,
    ),
    batch(source(NORMAL, trace=(replace(HOPS[0], ttl=16),))),
    batch(
        source(
            NORMAL,
            canaries=(CanaryResult(target=1, address=THERE, port=50_000, before=State.CLOSED, after=State.ERROR),),
            kept=(),
        )
    ),
    batch(source(NORMAL, observations=OBSERVATIONS[:1] * 5)),
    batch(source(NORMAL, slots=(1,) * 1025)),
    batch(source(NORMAL, kept=(replace(KEPT[0], data=bytes(5000)),))),
    batch(source(NORMAL, trace=(replace(HOPS[0], sent=0),)), witness(NORMAL, arrivals=(), health=())),
    batch(source(NORMAL, trace=HOPS[:2]), witness(NORMAL, arrivals=())),
    batch(source(NORMAL, trace=HOPS[:2]), witness(NORMAL, arrivals=(), health=(replace(HEALTH, healthy=False),))),
    batch(source(NORMAL, trace=(replace(HOPS[2], state=State.CLOSED),))),
    *(
        batch(
            source(NORMAL),
            witness(NORMAL, untokened=_CHALLENGED),
            source(CHALLENGE, **more),
            witness(CHALLENGE, untokened=_CHALLENGED),
        )
        for more in ({}, {"slots": (0,) * 20}, {"slots": (1,) * 20}, {"controls": CONTROLS[1:2]})
    ),
    batch(
        source(NORMAL, controls=()),
        witness(NORMAL, untokened=_CHALLENGED),
        source(CHALLENGE, controls=tuple(replace(one, ended_good=True) for one in CONTROLS)),
        witness(CHALLENGE, untokened=()),
    ),
    *(
        batch(
            source(NORMAL),
            witness(NORMAL, untokened=_CHALLENGED),
            source(CHALLENGE, slots=PATTERN, slot_ms=150.0),
            witness(
                CHALLENGE,
                untokened=tuple(
                    replace(one, times_ms=times, count=len(times), largest=len(times)) for one in _CHALLENGED
                ),
            ),
        )
        for times in (
            ON_TIMES,
            ON_TIMES[:6],
            ON_TIMES[:9],
            tuple(range(0, 3000, 150)),
            (0, 10**7),
            ON_TIMES[:9] + (3500, 4000),
        )
    ),
    *(
        batch(
            source(NORMAL),
            witness(NORMAL, untokened=_CHALLENGED),
            source(CHALLENGE, slots=PATTERN, slot_ms=150.0),
            witness(
                CHALLENGE,
                untokened=tuple(
                    replace(one, times_ms=ON_TIMES[:9] + (n,), source_port=1000 + n)
                    for n in range(300)
                    for one in _CHALLENGED[:1]
                ),
            ),
        )
        for _ in range(1)
    ),
)
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
        groups=((2, "60-70"),),
    ),
    Go(
        round="r",
        key=KEY,
        kind=NORMAL,
        targets=TARGETS,
        networks=("10.10.0.0/24",),
        controls=(ControlTarget(address="10.99.0.1", protocol=TCP, port=8883),),
        groups=((2, "60-70"),),
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
    return [*forged, *(encode_batch(one) for one in BATCHES), *map(msgspec.msgpack.encode, UP)]


def assert_sane(value: Any) -> None:
    """What whoever takes a message may count on, said independently of `wire.bounds`."""
    match value:
        case Enum() | bool() | None:
            return
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
