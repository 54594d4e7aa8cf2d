"""What is going to go wrong, and when: drawn from a seed alone, so that a run can be had again."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.lab.small import AGENTS, DEV, DEV6, PROD, PROD6, REG, REG6, STAGE, STAGE_B
from tests.lab.truth import Rule

REST_S = 4.0  # what was touched is left alone for so long
FLOOD = "a flood by one agent"  # it is cut off for a minute


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: how many of twenty it is, how long it lasts at least and at most, what it may hit.

    Two faults that hold the same thing never overlap; `holds` are those things, `{}` stands for the target.
    """

    name: str
    share: int
    lasts_s: tuple[float, float]
    targets: tuple[str, ...]
    holds: tuple[str, ...] = ("process {}",)


# The shorter figure of each pair is for the short form; in the long one a SIGSTOP lasts up to a minute.
KINDS: tuple[Kind, ...] = (
    Kind("kill -9 an agent", 3, (0.5, 8), tuple(AGENTS)),
    Kind("kill -9 the coordinator", 2, (0.5, 6), ("coordinator",)),
    Kind("kill -9 the broker", 2, (0, 0), ("broker",)),
    Kind("SIGSTOP an agent", 2, (3, 60), tuple(AGENTS)),
    Kind("SIGSTOP the coordinator", 1, (3, 60), ("coordinator",)),
    Kind("SIGSTOP the broker", 1, (3, 60), ("broker",)),
    Kind("cut an agent's wire", 2, (2, 40), tuple(AGENTS), ("wire {}",)),
    Kind("drop the way to the broker", 2, (2, 40), (*AGENTS, "everybody"), ("wire {}",)),
    Kind("lose 30% of all packets", 1, (4, 30), ("router",)),
    Kind("fill an agent's disk", 2, (4, 30), tuple(AGENTS), ("disk {}",)),
    Kind("fill the coordinator's disk", 1, (4, 30), ("coordinator",), ("disk {}",)),
    Kind("declare a path, and take it back", 1, (3, 12), ("topology",)),
    Kind("break the topology file", 1, (3, 12), ("topology",)),
    Kind("take an agent out of the topology", 1, (4, 15), tuple(AGENTS), ("process {}", "process topology")),
    Kind("renew a bundle by hand", 1, (0, 0), tuple(AGENTS)),
    Kind("set an agent's clock by an hour", 1, (3, 30), tuple(AGENTS), ("clock {}",)),
    Kind("set the coordinator's clock by an hour", 1, (3, 30), ("coordinator",), ("clock {}",)),
    Kind(FLOOD, 1, (3, 10), tuple(AGENTS), ("process {}", "wire {}")),
)

# What the firewall lets through for a while, in both families and every protocol, with and without a witness.
HOLES: tuple[Rule, ...] = (
    Rule("10.10.0.0/24", REG, "tcp", 5000, 5000, "accept"),
    Rule("10.10.0.0/24", PROD, "tcp", 8000, 8000, "accept"),
    Rule("fd00:10::/64", PROD6, "tcp", 1, 65535, "accept"),
    Rule("fd00:20::/64", REG6, "tcp", 5000, 5000, "accept"),
    Rule(STAGE, PROD, "udp", 9000, 9000, "accept"),
    Rule("10.10.0.0/24", STAGE_B, "tcp", 8080, 8080, "accept"),
    Rule("10.30.0.0/24", STAGE, "tcp", 22, 8080, "accept"),
    Rule("10.30.0.0/24", DEV, "icmp", 0, 0, "accept"),
    Rule("fd00:30::/64", DEV6, "udp", 53, 123, "accept"),
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come: seconds after the start, and how long it lasts."""

    number: int
    kind: str
    target: str
    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Opening:
    """A hole to come: which of `HOLES`, from when to when."""

    hole: int
    at_s: float
    until_s: float


def faults(
    rng: random.Random, count: int, *, gap_s: float, most_s: float, without: Collection[str] = ()
) -> list[Planned]:
    """So many faults in random order, each kind in its share and at least once as far as they go; they overlap.

    Args:
        rng: seeded.
        count: of faults.
        gap_s: from one to the next, on average.
        most_s: no fault lasts longer.
        without: kinds that are left out.
    """
    free: dict[str, float] = {}
    planned: list[Planned] = []
    clock = 0.0
    for kind in _bag(rng, count, without):
        target = min(rng.sample(kind.targets, len(kind.targets)), key=lambda t: _free(free, kind, t) > clock)
        at = max(clock, _free(free, kind, target))
        least, most = kind.lasts_s
        lasts = rng.uniform(least, max(least, min(most, most_s)))
        for held in kind.holds:
            free[held.format(target)] = at + lasts + REST_S
        planned.append(Planned(len(planned) + 1, kind.name, target, round(at, 2), round(lasts, 2)))
        clock = max(clock, at - gap_s) + rng.uniform(0.3, 1.7) * gap_s
    return sorted(planned, key=lambda fault: fault.at_s)


def openings(rng: random.Random, until_s: float, *, lasts_s: tuple[float, float]) -> list[Opening]:
    """Holes that come and go beside the faults, each for a while, two at a time on average, until `until_s`."""
    found = []
    free = [0.0] * len(HOLES)
    clock = 1.0
    while clock < until_s:
        hole = rng.choice([index for index, at in enumerate(free) if at <= clock] or [free.index(min(free))])
        at = max(clock, free[hole])
        until = at + rng.uniform(*lasts_s)
        free[hole] = until + lasts_s[0] / 2
        found.append(Opening(hole, round(at, 2), round(min(until, until_s), 2)))
        clock += rng.uniform(0.3, 0.7) * sum(lasts_s) / 2
    return found


def _bag(rng: random.Random, count: int, without: Collection[str]) -> Sequence[Kind]:
    """Every kind once, then by share, in random order."""
    kinds = [kind for kind in KINDS if kind.name not in without]
    most = [kind for kind in kinds for _ in range(kind.share)]
    first = rng.sample(kinds, min(count, len(kinds)))
    rest = [rng.choice(most) for _ in range(count - len(first))]
    bag = [*first, *rest]
    rng.shuffle(bag)
    return bag


def _free(free: Mapping[str, float], kind: Kind, target: str) -> float:
    return max(free.get(held.format(target), 0.0) for held in kind.holds)
