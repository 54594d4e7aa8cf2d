"""Real batches, to begin with: what one round or several brought, and what a challenge did."""

from __future__ import annotations

from dataclasses import replace

from reachability.arrival import Untokened, WitnessReport
from reachability.observation import CanaryResult, SourceReport
from reachability.ports import PortSet
from reachability.vocabulary import Reason, Role, State
from tests.fuzz.targets.rows import (
    ARRIVALS,
    CHALLENGE,
    CONTROLS,
    HEALTH,
    HOPS,
    KEPT,
    NOPORTS,
    NORMAL,
    OBSERVATIONS,
    TCP,
    THERE,
    TIMES,
    source,
    witness,
)
from wire.messages import Batch


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
INSIDE = SourceReport(round="r", agent="prod-2", role=Role.INSIDE, observations=OBSERVATIONS[:2])
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
        witness(NORMAL, health=(replace(HEALTH, noports=2, bound_udp=PortSet()),)),
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
            (*ON_TIMES, 10**7),
            ON_TIMES[:9] + (3500, 4000),
        )
    ),
    batch(
        source(NORMAL),
        witness(NORMAL, untokened=_CHALLENGED),
        source(CHALLENGE, slots=PATTERN, slot_ms=150.0),
        witness(CHALLENGE, untokened=tuple(replace(one, flows=3, largest=20, count=60) for one in _CHALLENGED)),
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
    # Seen to leave, and nothing of it came: with a loss that was measured, and with none; and a challenge that cannot be used.
    *(
        batch(
            source(NORMAL, controls=controls),
            witness(NORMAL, untokened=_CHALLENGED),
            source(
                CHALLENGE,
                slots=PATTERN,
                slots_sent=(2,) * len(PATTERN),
                slot_ms=slot_ms,
                controls=tuple(replace(one, ended_good=True) for one in CONTROLS),
            ),
            witness(CHALLENGE, untokened=()),
        )
        for controls in (CONTROLS, ())
        for slot_ms in (150.0, 0.0)
    ),
    # Behind NAT that has a port for each connection; and a packet that is nobody's of ours.
    *(
        batch(
            source(NORMAL),
            witness(NORMAL, untokened=_CHALLENGED),
            source(CHALLENGE, slots=PATTERN, slot_ms=150.0),
            witness(
                CHALLENGE,
                untokened=tuple(
                    replace(_CHALLENGED[0], times_ms=(at,), count=1, largest=1, source_port=1000 + at) for at in times
                ),
            ),
        )
        for times in (ON_TIMES, ON_TIMES[:1])
    ),
    batch(source(NORMAL, observations=tuple(replace(one, via="") for one in OBSERVATIONS)), witness(NORMAL)),
    # Refused on its way by a router; kept packets of another host.
    batch(
        source(
            NORMAL,
            trace=(
                *HOPS[:2],
                replace(HOPS[2], state=State.FILTERED, reason=Reason.ADMIN_PROHIBITED, address="10.9.9.9"),
            ),
        ),
        witness(NORMAL, arrivals=()),
    ),
)
