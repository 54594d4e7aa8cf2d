"""What a round showed of a cell, in words."""

from __future__ import annotations

from cli.show.evidence import limits
from cli.show.explanation import explanation
from cli.show.render import Paint
from coordinator.api.responses.proof import Limits
from tests.support.sample import Estate


def test_the_limits_of_a_proof_are_said_in_a_sentence() -> None:
    assert limits(Limits(flows=6, seconds=4.3, loss=0.0123, share=0.394)) == (
        "over 6 flows and 4.3 s, loss at most 1.2%: a leak for up to 39% of the flows, or one that was closed just then, "
        "could have been missed (1 chance in 20)"
    )
    assert limits(Limits(flows=1, seconds=None, loss=None, share=0.95)).startswith(
        "over 1 flow: a leak for up to 95% of"
    )


def test_explain_has_them_for_a_green_cell_alone() -> None:
    estate, style = Estate(), Paint(color=False)
    green = explanation(estate.explain(asked=("dev-1", "10.30.0.10", "tcp/22")), style)
    assert any(line.startswith("limits     over ") for line in green)
    assert not any(
        line.startswith("limits")
        for line in explanation(estate.explain(asked=("dev-1", "10.30.0.21", "tcp/5000")), style)
    )
