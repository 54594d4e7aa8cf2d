"""What bears on a cell is answered whole."""

from __future__ import annotations

from dataclasses import fields

from coordinator.api.responses import proof
from reachability import verdict


def test_all_evidence_is_answered() -> None:
    """One that is added inside needs a name outside, or a reason here why it has none."""
    assert {field.name for field in fields(verdict.Evidence)} == set(proof.Evidence.__struct_fields__)
