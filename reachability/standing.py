"""Whether what was concluded of a cell still speaks for it under a topology that came afterwards."""

from __future__ import annotations

from reachability.matrix import Judged
from reachability.plan import PlanTarget
from reachability.vocabulary import Reachability, Result

LEANS_INSIDE = frozenset({7, 13, 16})  # rows of the table
_CROSSED = {Reachability.REACHABLE, Reachability.ONE_WAY}


def stands(target: PlanTarget, judged: Judged, result: Result) -> bool:
    """Whether source, witness, inside control, and who is inside the two environments, are still what they were.

    An address that another agent has now is another host, and an agent that was taken out vouches for nothing; one that came
    to a host since takes nothing away. What crossed against the declaration stays seen until the cell is tried again.
    """
    if result is Result.FAIL and judged.verdict.reachability in _CROSSED:
        return True
    leans_inside = judged.verdict.row in LEANS_INSIDE and judged.evidence.inside_by
    return (
        judged.witness in {"", target.witness}
        and judged.source_environment in {"", target.source_environment}
        and (not judged.layout or judged.layout == target.layout)
        and (not leans_inside or judged.evidence.inside_by in target.insides)
    )
