"""Which controls a job sends, and from where."""

from __future__ import annotations

from dataclasses import replace

from probes.packets.route import Route
from reachability.observation import ControlTarget
from reachability.vocabulary import ControlKind, Protocol
from tests.support.network import END, OWN, ROUTE, play, target

SECOND = "10.10.0.12"
PAIR = ControlTarget(address=END, protocol=Protocol.TCP, port=80, kind=ControlKind.PAIR, source=SECOND)


def test_no_control_looks_like_a_copy_of_a_cell_of_another_of_the_agents_addresses() -> None:
    """A token does not tell source addresses apart: a witness that is asked about the one would take it for its copy."""
    other = replace(target("22", 2), source=SECOND)
    elsewhere = replace(PAIR, port=81)
    ran = play(targets=(target("22,80"), other), controls=(PAIR, elsewhere), ways=_from_both)
    assert {(c.port, c.source_address) for c in ran.report.controls} == {(81, SECOND)}


def test_a_control_at_a_cell_that_its_own_address_probes_as_well_is_told_apart() -> None:
    both = (target("22,80"), replace(target("22,80", 2), source=SECOND))
    ran = play(targets=both, controls=(PAIR,), ways=_from_both)
    assert {(c.port, c.source_address) for c in ran.report.controls} == {(80, SECOND)}


def _from_both(_: str, source: str) -> tuple[Route, ...]:
    return (replace(ROUTE, source=source or OWN),)
