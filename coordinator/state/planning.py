"""What plans are made of, and how: bounded whatever agents and resolvers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from reachability.plan import PlanTarget, build_plan
from reachability.plan_size import MOST_TARGETS, plan_size
from reachability.topology import Topology

Plan = tuple[PlanTarget, ...]

log = structlog.get_logger("estate")


@dataclass(frozen=True, slots=True)
class Known:
    """What a plan takes from others than the file: addresses that agents reported, those that names lead to, and who has moved."""

    addresses: Mapping[str, tuple[str, ...]]
    leads_to: Mapping[str, tuple[str, ...]]
    moves: Mapping[str, str] = field(default_factory=dict)  # as `reachability.layout` has it


def plan_of(topology: Topology, known: Known) -> Plan:
    """The plan of what is declared and known.

    Where that is more than `MOST_TARGETS`, of what is declared alone, which never is: each name and each agent without
    addresses is in it as one that nothing is known of, and nothing is proven there.
    """
    size = plan_size(topology, known.addresses, known.leads_to)
    if size <= MOST_TARGETS:
        return build_plan(topology, known.addresses, known.leads_to, moves=known.moves)
    log.error(
        "the addresses that agents and names have make too large a plan: nothing is probed at them",
        targets=size, most=MOST_TARGETS,
        names=sum(map(len, known.leads_to.values())), agents=sum(map(len, known.addresses.values())),
    )  # fmt: skip
    return build_plan(topology, {}, {}, moves=known.moves)
