"""What was concluded under one topology, held against the plan of the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reachability.matrix import Judged
from reachability.plan import PlanTarget
from reachability.standing import stands
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Protocol, Reachability, Result, State

TARGET = PlanTarget(
    agent="dev-1", source_environment="dev", source_address="10.10.0.10", destination="prod", address="10.30.0.10",
    protocol=Protocol.TCP, witness="prod-1", insides=("prod-2",),
)  # fmt: skip


def judged(reachability: Reachability, row: int, inside_by: str = "", witness: str = "prod-1") -> Judged:
    seen = Evidence(protocol=Protocol.TCP, state=State.FILTERED, inside_by=inside_by)
    verdict = Verdict(reachability=reachability, row=row)
    return Judged(evidence=seen, verdict=verdict, round="R1", source_environment="dev", witness=witness)


WITNESSED = judged(Reachability.BLOCKED, 15)
CONTROLLED = judged(Reachability.NO_SESSION, 16, "prod-2", witness="")


@pytest.mark.parametrize(
    ("judged", "target", "expected"),
    [
        (WITNESSED, TARGET, True),
        (WITNESSED, replace(TARGET, witness="prod-9"), False),
        (WITNESSED, replace(TARGET, witness=""), False),
        (WITNESSED, replace(TARGET, source_environment="lab"), False),
        (replace(WITNESSED, source_environment="", witness=""), TARGET, True),
        (CONTROLLED, TARGET, True),
        (CONTROLLED, replace(TARGET, insides=("prod-9", "prod-2")), True),
        (CONTROLLED, replace(TARGET, insides=("prod-9",)), False),
        (replace(WITNESSED, evidence=CONTROLLED.evidence), replace(TARGET, insides=()), True),
        (replace(WITNESSED, layout="a"), replace(TARGET, layout="a"), True),
        (replace(WITNESSED, layout="a"), replace(TARGET, layout="b"), False),
        (WITNESSED, replace(TARGET, layout="b"), True),
    ],
    ids=[
        "as it was", "another host", "no agent's any more", "another source", "an older store's, or an agent came to the host",
        "from inside", "others came", "who vouched is gone", "it did not lean inside",
        "inside are the same", "inside are others", "not known who was inside",
    ],
)  # fmt: skip
def test_what_is_proven_stands_while_those_who_proved_it_do(judged: Judged, target: PlanTarget, expected: bool) -> None:
    assert stands(target, judged, Result.PASS) is expected


@pytest.mark.parametrize("reachability", [Reachability.REACHABLE, Reachability.ONE_WAY])
def test_a_breach_stays_seen_until_it_is_tried_again(reachability: Reachability) -> None:
    moved = replace(TARGET, witness="prod-9")
    assert stands(moved, judged(reachability, 1), Result.FAIL)
    assert not stands(moved, judged(reachability, 1), Result.PASS), "a required path is another host's now"
    assert not stands(moved, WITNESSED, Result.FAIL), "nor does it lack what it was never asked for"
