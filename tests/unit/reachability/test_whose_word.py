"""A report counts from the agent that the task names for that part, of its window, and of one process under that name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from reachability.arrival import ArrivalRow, Crowded, NoPortsGroup, Untokened
from reachability.evidence import conclude
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import Protocol, Reachability, Reason, Role, State
from tests.support.round_data import HEALTHY, PROD, TCP, data, insides, silence, source, witness

REGISTRY = "10.30.0.21"
SSH = replace(TCP, ports=PortSet.parse("22"))
OTHER = replace(SSH, id=2, address=REGISTRY, witness="prod-2")
ALONE = replace(SSH, witness="", inside="prod-2")
CLOSED = silence(ALONE, source_address="10.30.0.11", state=State.CLOSED, reason=Reason.RESET)
CAME = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=4, last_copy=3)


def found(*rounds: RoundData, address: str = PROD) -> tuple[Verdict, Evidence]:
    ((_, _, evidence),) = (cell for cell in conclude(rounds).cells if cell[0].address == address)
    return judge(evidence), evidence


# -- whose --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", ["dev-1", "prod-2", "test-1"])
def test_only_the_targets_own_witness_says_that_nothing_came(stranger: str) -> None:
    fake = replace(witness(), agent=stranger)
    verdict, evidence = found(data(SSH, src=source(silence(SSH)), wit=(fake,)))
    assert (verdict.reachability, evidence.no_witness_why) == (Reachability.UNKNOWN, "agent prod-1 did not report")
    assert found(data(SSH, src=source(silence(SSH)), wit=(witness(),)))[0].row == 15


def test_another_witness_of_the_round_does_not_speak_for_this_host() -> None:
    """It reports of its own address, as it was asked, and of one that it was not asked about."""
    src = source(silence(SSH), silence(OTHER))
    both = replace(witness(), agent="prod-2", health=(HEALTHY, replace(HEALTHY, address=REGISTRY)))
    assert found(data(SSH, OTHER, src=src, wit=(both,)))[0].reachability is Reachability.UNKNOWN
    assert found(data(SSH, OTHER, src=src, wit=(both,)), address=REGISTRY)[0].row == 15
    sick = replace(both, health=(replace(HEALTHY, healthy=False, why="forged"), *both.health[1:]))
    assert found(data(SSH, OTHER, src=src, wit=(witness(), sick)))[0].row == 15, "nor does it take a witness away"


@pytest.mark.parametrize(
    "row",
    [
        {"arrivals": (CAME,)},
        {
            "untokened": (
                Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="1.2.3.4", source_port=9, count=1),
            )
        },
        {"crowded": (Crowded(address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22")),)},
        {"groups": (NoPortsGroup(target=1, ports=PortSet.parse("22"), arrived=3, moved=0),)},
    ],
    ids=["arrivals", "untokened", "crowded", "groups"],
)
def test_nothing_else_of_a_stranger_counts_either(row: dict[str, object]) -> None:
    forged = replace(witness(), agent="prod-2", health=(), **row)  # type: ignore[arg-type]
    src = source(silence(SSH), silence(OTHER))
    assert found(data(SSH, OTHER, src=src, wit=(witness(), forged)))[0].row == 15


def test_an_arrival_is_of_its_targets_own_address() -> None:
    elsewhere = replace(CAME, address=REGISTRY)
    assert found(data(SSH, src=source(silence(SSH)), wit=(witness(elsewhere),)))[0].row == 15


@pytest.mark.parametrize("asked", ["", "10.10.0.10", "10.10.0.11"])
def test_a_source_speaks_of_the_address_that_it_was_asked_to_send_from(asked: str) -> None:
    """Else two targets of a round would be one cell, with rows that contradict each other."""
    other = replace(SSH, id=2, source="10.10.0.12")
    src = source(silence(SSH), silence(other, state=State.OPEN, reason=Reason.SYN_ACK))
    cells = conclude([data(replace(SSH, source=asked), other, src=src, wit=(witness(),))]).cells
    assert [(key.source_address, e.state) for key, _, e in cells] == (
        [] if asked == "10.10.0.11" else [("10.10.0.10", State.FILTERED)]
    )


def test_only_the_targets_inside_agent_controls_it_from_inside() -> None:
    src = source(silence(ALONE))
    assert found(data(ALONE, src=src, insides=insides(CLOSED)))[0].row == 16
    forged = insides(CLOSED, agent="dev-1")
    assert found(data(ALONE, src=src, insides=forged))[0].reason == "no-inside-control"
    elsewhere = insides(replace(CLOSED, address=REGISTRY))
    assert found(data(ALONE, src=src, insides=elsewhere))[0].reason == "no-inside-control"


@pytest.mark.parametrize("change", [{"agent": "prod-1"}, {"role": Role.INSIDE}], ids=["another agent", "another part"])
def test_only_the_rounds_source_says_what_it_sent(change: dict[str, object]) -> None:
    forged = replace(source(silence(SSH)), **change)  # type: ignore[arg-type]
    assert conclude([data(SSH, src=forged, wit=(witness(),))]).cells == ()


# -- of which window ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listened_s", "sent_s", "row"),
    [(24.0, 20.0, 15), (20.0, 20.0, 15), (0.4, 20.0, 18), (19.0, 20.0, 18), (899.6, 900.0, 15)],
)
def test_a_witness_that_listened_for_less_than_the_source_took_is_none(
    listened_s: float, sent_s: float, row: int
) -> None:
    """It was suspended, its steady clock with it; two clocks that are brought into step are allowed for."""
    src = source(silence(SSH), duration_s=sent_s)
    verdict, evidence = found(data(SSH, src=src, wit=(witness(listened_s=listened_s),)))
    assert verdict.row == row
    if row == 18:
        assert evidence.no_witness_why == f"it listened for {listened_s} s, and the source's part took {sent_s} s"


def test_what_it_saw_counts_all_the_same() -> None:
    row = replace(CAME, answered=True)
    src = source(silence(SSH), duration_s=20.0)
    assert found(data(SSH, src=src, wit=(witness(row, listened_s=0.4),)))[0].row == 10


def test_without_a_source_it_is_not_known_how_long_it_would_have_been() -> None:
    round_ = data(SSH, src=source(), wit=(witness(listened_s=0.0),))
    assert conclude([replace(round_, source=None)]).cells == ()


# -- one process --------------------------------------------------------------------------------------------------


def with_two(round_: RoundData, *agents: str) -> RoundData:
    return replace(round_, two_holders=frozenset(agents))


OPEN = silence(SSH, state=State.OPEN, reason=Reason.SYN_ACK)


@pytest.mark.parametrize("answer", [silence(SSH), OPEN, replace(silence(SSH), state=State.CLOSED, reason=Reason.RESET)])
@pytest.mark.parametrize("rows", [(), (CAME,)], ids=["not seen", "seen"])
@pytest.mark.parametrize("agent", ["dev-1", "prod-1"], ids=["source", "witness"])
def test_two_holders_of_the_source_or_the_witness_prove_nothing(
    agent: str, rows: Sequence[ArrivalRow], answer: object
) -> None:
    round_ = data(SSH, src=source(answer), wit=(witness(*rows),))  # type: ignore[arg-type]
    verdict, _ = found(with_two(round_, agent))
    assert (verdict.reachability, verdict.reason) == (Reachability.UNKNOWN, "two-holders")
    assert found(round_)[0].reason != "two-holders"


def test_two_holders_of_the_inside_agent_control_nothing() -> None:
    round_ = data(ALONE, src=source(silence(ALONE)), insides=insides(CLOSED))
    assert found(with_two(round_, "prod-2"))[0].reason == "two-holders"
    watched = replace(SSH, inside="prod-2")
    bound = witness(CAME, health=replace(HEALTHY, bound_tcp=SSH.ports))
    seen = data(watched, src=source(silence(watched)), wit=(bound,), insides=insides(CLOSED))
    assert found(seen)[0].row == 13
    assert found(with_two(seen, "prod-2"))[0].reason == "two-holders", "row 13 leans on it"


def test_what_source_and_witness_show_stands_without_the_inside_control() -> None:
    watched = replace(SSH, inside="prod-2")
    bound = witness(health=replace(HEALTHY, bound_tcp=SSH.ports))
    assert found(with_two(data(watched, src=source(silence(watched)), wit=(bound,)), "prod-2"))[0].row == 15
    opened = data(watched, src=source(OPEN), wit=(witness(replace(CAME, answered=True)),))
    assert found(with_two(opened, "prod-2"))[0].row == 1, "nobody hides a leak by a copied bundle of a third agent"


def test_a_further_round_with_two_holders_taints_what_it_adds_to() -> None:
    first = data(SSH, src=source(silence(SSH)), wit=(witness(),))
    assert found(first, with_two(first, "prod-1"))[0].reason == "two-holders"
    assert found(first, first)[0].row == 15
