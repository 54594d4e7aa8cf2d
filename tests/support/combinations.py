"""Every combination of what decides a verdict, answer by answer; what a combination leaves open is drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product
from typing import Any

from reachability.verdict import Evidence
from reachability.vocabulary import Arrival, Canary, Protocol, Reason, State

SEEN, NOT_SEEN, NO_WITNESS = Arrival.SEEN, Arrival.NOT_SEEN, Arrival.NO_WITNESS
ANY = (SEEN, NOT_SEEN, NO_WITNESS)
ROUTED, DIRECT = "eth0 10.10.0.1", "eth0 direct"

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
    "least_hops": (None, 0, 1),
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


def opened() -> Iterator[Evidence]:
    yield from _all(
        {"state": State.OPEN, "reason": Reason.SYN_ACK},
        _each("arrival", ANY), _each("canary", tuple(Canary)), _each("inside", INSIDE), _each("inside_same", (False, True)),
        _each("protocol", PROTOCOLS), _each("problem", PROBLEMS),
    )  # fmt: skip


def closed() -> Iterator[Evidence]:
    reasons = ({"reason": Reason.RESET}, {"reason": Reason.CONN_REFUSED}, {"reason": Reason.RESET, "sent": 0})
    yield from _all(
        {"state": State.CLOSED},
        _each("arrival", ANY), reasons, DISTANCES, CONTROLS, _each("inside", INSIDE), _each("protocol", PROTOCOLS),
        _each("problem", PROBLEMS), _each("least_hops", (None, 0)),
    )  # fmt: skip


def not_seen() -> Iterator[Evidence]:
    sent = ({"sent": 0, "flows": 0}, {"sent": 4, "flows": 2}, {"sent": 4, "flows": 4})
    distances = [d for d in DISTANCES if (d["hops"], d["host_hops"]) in {(None, None), (0, None), (0, 1), (1, 1)}]
    yield from _all(
        {"state": State.FILTERED},
        _each("arrival", (NOT_SEEN, NO_WITNESS)), sent, REFUSALS, CONTROLS[1:], _each("inside", INSIDE),
        _each("protocol", PROTOCOLS), _each("problem", PROBLEMS[:2]), distances, _each("inside_heard", (False, True)),
    )  # fmt: skip


def arrived() -> Iterator[Evidence]:
    yield from _all(
        {"arrival": SEEN} | SILENCE,
        ({"state": State.ERROR, "reason": Reason.LOCAL_ERROR}, *({"state": State.FILTERED, **r} for r in REFUSALS)), _each("protocol", PROTOCOLS), CONTROLS[1:],
        _each("no_witness_why", ELSE["no_witness_why"]), _each("answered", (False, True)), _each("bound", (False, True)),
        _each("inside", (None, State.OPEN, State.CLOSED, State.OPEN_FILTERED)), _each("problem", PROBLEMS),
        _each("undelivered", (None, False, True)), _each("handed_on", (None, False, True)), ELSE_STILL,
    )  # fmt: skip
