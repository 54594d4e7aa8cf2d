"""How long a round waits for its source: by what was asked of it, and little longer for what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.state.roster import AgentState
from reachability.observation import Target
from reachability.topology import Probing
from wire.messages import Go

CELL_PACKETS = 8  # per cell, controls included: what a deadline allows for
LEAST_S, DEADLINE_FACTOR = 40.0, 4.0
GROUP_S = 4.0  # a group of a NoPorts round, its pauses alone
BUSY_PPS = 20_000  # that any host gets done, whatever the rate
CONNECTS_S = 0.0125  # per cell: all its time-outs, a thousand at once
FLOW_S = 30.0  # that a flow may count
CLAIM_S = 120.0  # by which all that an agent says of itself lengthens a round at most


def cells_of(targets: Iterable[Target]) -> int:
    """How many cells targets have."""
    return sum(len(target.ports) for target in targets)


def patience_s(order: Go, own: AgentState, probing: Probing) -> float:
    """How long to wait for a source: at the slowest rate and the fewest flows that anyone allows it.

    What the topology allows it takes all the time that it needs; what the agent says or reports `CLAIM_S` more at most.
    """
    rate_pps = min(filter(None, (order.rate_pps, own.rate_pps, probing.rate_pps)), default=0)
    waits_s = order.spread_s + GROUP_S * len(order.groups)
    flows = own.flows or probing.flows
    claimed_s = deadline_s(order.targets, rate_pps, flows, raw=own.raw, copies=order.copies)
    return waits_s + min(claimed_s, latest_s(order.targets, probing, order.copies))


def latest_s(targets: Iterable[Target], probing: Probing, copies: int) -> float:
    """The longest that any source has, whatever it says of itself; its pauses are added."""
    return deadline_s(targets, probing.rate_pps, probing.flows, copies=copies) + CLAIM_S


def deadline_s(targets: Iterable[Target], rate_pps: int, flows: int = 0, *, raw: bool = True, copies: int = 0) -> float:
    """How long a source may take, generously; `rate_pps` 0 stands for a slow one, `flows` 0 for a low bound.

    Not `raw`: it connects, and waits for every silent cell. `copies`: that a cell has at least.
    """
    cells = cells_of(targets)
    packets = cells * max(CELL_PACKETS, copies + CELL_PACKETS // 2)
    waits = packets * FLOW_S / (flows or 1000) if packets > (flows or 1000) else 0.0
    connects = 0.0 if raw else cells * CONNECTS_S
    return LEAST_S + DEADLINE_FACTOR * packets / max(1, min(rate_pps or 500, BUSY_PPS)) + waits + connects
