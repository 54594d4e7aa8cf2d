"""Loss is measured per host and protocol, without bias, and no open port is taken for a shut one because of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from reachability.arrival import ArrivalRow, WitnessReport
from reachability.evidence import Conclusion, conclude
from reachability.loss import MOST_MISSED, Counted, Endpoint, copies_needed, partial, total, upper_bound, worst
from reachability.observation import ControlResult, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.verdict import judge
from reachability.vocabulary import Protocol, Reason, Role, State
from tests.support.round_data import CONTROL, HEALTHY, PROD, TCP, UDP, data, silence, source, verdicts, witness

SECOND = "10.30.0.11"
CLEAN = replace(TCP, ports=PortSet.parse("1-2000"))
LOSSY = replace(TCP, id=3, address=SECOND, witness="prod-1")
BOTH_HEALTHY = (HEALTHY, replace(HEALTHY, address=SECOND))


def sent_until_answered(
    target: Target, copies: int, lost: Callable[[], bool]
) -> tuple[list[Observation], list[ArrivalRow]]:
    """An open host: each port is tried until it answers, so many times at most; every answer comes back."""
    first: dict[int, list[int]] = {}
    for port in target.ports:
        first.setdefault(next((n for n in range(1, copies + 1) if not lost()), 0), []).append(port)
    observations, rows = [], []
    for sent, ports in first.items():
        text = str(PortSet.of(ports))
        if not sent:
            observations.append(silence(target, text, sent=copies, covered=copies, flows=copies))
            continue
        answer = {"state": State.CLOSED, "reason": Reason.RESET, "hops": 1}
        observations.append(silence(target, text, sent=sent, covered=sent, flows=sent, **answer))
        row = ArrivalRow(target=target.id, address=target.address, protocol=target.protocol, copies=1, answered=True)
        rows.append(replace(row, ports=PortSet.of(ports), last_copy=sent - 1))
    return observations, rows


def seeds(loss: float, many: int) -> Iterator[Callable[[], bool]]:
    for seed in range(many):
        drawn = random.Random(seed)
        yield lambda drawn=drawn: drawn.random() < loss  # type: ignore[misc]


def green(conclusion: Conclusion) -> list[str]:
    return [f"{key.address} {ports}" for key, ports, e in conclusion.cells if judge(e).green]


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("copies", [2, 3, 4, 9])
def test_what_ports_tell_of_the_loss_is_not_biased_by_those_that_are_left_out(loss: float, copies: int) -> None:
    """A port that no copy reached is not known to be open, and what answers is not tried again."""
    (lost,) = seeds(loss, 1)
    target = replace(TCP, ports=PortSet.parse("1-60000"))
    observations, rows = sent_until_answered(target, copies, lost)
    counted = partial([data(target, src=source(*observations), wit=(witness(*rows),))])[Endpoint(PROD, Protocol.TCP)]
    assert counted.lost / counted.sent == pytest.approx(loss, rel=0.05)


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("copies", [2, 3, 4, 9])
def test_nor_is_it_where_the_host_answers_nothing_and_every_copy_is_sent(loss: float, copies: int) -> None:
    (lost,) = seeds(loss, 1)
    target = replace(TCP, ports=PortSet.parse("1-60000"))
    came: dict[int, list[int]] = {}
    for port in target.ports:
        came.setdefault(sum(not lost() for _ in range(copies)), []).append(port)
    rows = (
        ArrivalRow(
            target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.of(ports), copies=n, last_copy=copies - 1
        )
        for n, ports in came.items()
        if n
    )
    all_of = source(silence(target, sent=copies, covered=copies, flows=copies))
    counted = partial([data(target, src=all_of, wit=(witness(*rows),))])[Endpoint(PROD, Protocol.TCP)]
    assert counted.lost / counted.sent == pytest.approx(loss, rel=0.05)


def test_a_port_that_came_at_its_last_try_is_loss_though_nothing_else_is_known() -> None:
    answered = silence(ports="22", state=State.OPEN, reason=Reason.SYN_ACK)
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=1, last_copy=3)
    round_ = data(TCP, src=source(answered, silence(ports="23-100")), wit=(witness(row),))
    assert partial([round_]) == {Endpoint(PROD, Protocol.TCP): Counted(3, 3)}
    assert partial([data(TCP, src=source(silence()), wit=(witness(replace(row, copies=4)),))]) == {
        Endpoint(PROD, Protocol.TCP): Counted(4, 0)
    }


def test_a_copy_that_came_late_is_not_a_lost_one() -> None:
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=1)
    late = WitnessReport(round="R1", agent="prod-1", arrivals=(row,), late=True)
    assert partial([data(TCP, src=source(silence()), wit=(witness(), late))]) == {}


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
@pytest.mark.parametrize("loss", [0.2, 0.4])
def test_a_clean_host_does_not_dilute_the_loss_of_the_one_beside_it(loss: float, protocol: Protocol) -> None:
    """Nor does the same host's other protocol. Four copies leave two or three of a hundred open ports silent."""
    clean = CLEAN if protocol is Protocol.TCP else replace(UDP, address=SECOND, ports=CLEAN.ports)
    wrong = []
    for lost in seeds(loss, 40):
        fine, fine_rows = sent_until_answered(clean, 4, lambda: False)
        bad, bad_rows = sent_until_answered(LOSSY, 4, lost)
        wit = replace(witness(*fine_rows, *bad_rows), health=BOTH_HEALTHY)
        wrong += green(conclude([data(clean, LOSSY, src=source(*fine, *bad), wit=(wit,))]))
    assert wrong == []


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.4])
def test_a_cycle_over_an_open_pair_is_never_green_by_loss(loss: float) -> None:
    """With and without a witness; controls elsewhere lose nothing, those of the pair what the pair loses."""
    wrong = []
    for lost in seeds(loss, 60):
        for copies in 4, 7:
            observations, rows = sent_until_answered(TCP, copies, lost)
            answered = 1 + sum(not lost() for _ in range(15))
            pair = replace(CONTROL, address=PROD, kind="pair", port=1, sent=16, answered=answered)
            src = source(*observations, controls=(replace(CONTROL, sent=500, answered=500), pair))
            wrong += green(conclude([data(TCP, src=src, wit=(witness(*rows),))]))
            alone = replace(TCP, witness="", inside="prod-2")
            seen = silence(alone, source_address=PROD, state=State.CLOSED, reason=Reason.RESET)
            inside = SourceReport(round="R1", agent="prod-2", role=Role.INSIDE, observations=(seen,))
            wrong += green(conclude([data(alone, src=src, insides=(inside,))]))
    expected = 60 * 2 * 2 * MOST_MISSED
    assert len(wrong) <= expected, wrong


def test_eight_ports_of_all_that_lost_three_copies_are_not_blocked() -> None:
    (lost,) = seeds(0.05, 1)
    every = replace(TCP, ports=PortSet.parse("1-65535"))
    observations, rows = sent_until_answered(every, 3, lost)
    lossy = replace(CONTROL, sent=512, answered=486)
    result = conclude([data(every, src=source(*observations, controls=(lossy,)), wit=(witness(*rows),))])
    assert {judge(e).reason for _, _, e in result.cells if e.state is State.FILTERED} == {"loss"}
    assert green(result) == []


def test_a_lossy_host_leaves_the_one_beside_it_as_it_is() -> None:
    """Each is judged by its own; one to which nothing was measured, by the worst of the others."""
    (lost,) = seeds(0.4, 1)
    bad, bad_rows = sent_until_answered(LOSSY, 4, lost)
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-50"), copies=4, last_copy=3)

    def of_the_other(*rows: ArrivalRow) -> str:
        wit = replace(witness(*rows, *bad_rows), health=BOTH_HEALTHY)
        result = conclude([data(TCP, LOSSY, src=source(silence(), *bad), wit=(wit,))])
        return next(judge(e).reason for key, ports, e in result.cells if key.address == PROD and 100 in ports)

    assert of_the_other(row) == "no-response"
    assert of_the_other() == "loss"


def test_what_another_protocol_loses_is_not_held_against_this_one() -> None:
    """A host answers so many echoes a second and no more."""
    echo: ControlResult = replace(CONTROL, address=PROD, protocol=Protocol.ICMP, kind="pair", sent=50, answered=20)
    found = verdicts(conclude([data(TCP, src=source(silence(), controls=(CONTROL, echo)), wit=(witness(),))]))
    assert judge(found["1-100"][1]).green
    tcp = replace(echo, protocol=Protocol.TCP)
    found = verdicts(conclude([data(TCP, src=source(silence(), controls=(CONTROL, tcp)), wit=(witness(),))]))
    assert found["1-100"][0].reason == "loss"
    other = replace(TCP, address=SECOND)
    seen = silence(other)
    wit = replace(witness(), health=BOTH_HEALTHY)
    found = verdicts(conclude([data(other, src=source(seen, controls=(CONTROL, tcp)), wit=(wit,))]))
    assert found["1-100"][0].reason == "loss", "the best that is known of a host to which nothing was measured"
    found = verdicts(conclude([data(TCP, src=source(silence(), controls=(echo,)), wit=(witness(),))]))
    assert found["1-100"][1].loss == upper_bound(50, 30), "the only measure that there is"


def test_others_count_with_the_rest_alone() -> None:
    assert total([Counted(10, 1), Counted(5, 2)]) == Counted(15, 3)
    assert worst([(10, 0)], [(90, 9)]) == upper_bound(100, 9)
    assert worst([Counted(20, 0)], [Counted(100, 50)]) == upper_bound(120, 50)
    assert worst([], [Counted(0, 0)]) is None


@pytest.mark.parametrize("loss", [0.001, 0.05, 0.4])
@pytest.mark.parametrize("cells", [1, 100, 65535])
def test_so_many_copies_leave_less_than_a_hundredth_of_a_port(cells: int, loss: float) -> None:
    copies = copies_needed(cells, loss)
    assert copies is not None
    missed = [cells * loss**n / (1 - loss**n) for n in (copies, copies - 1) if n]
    assert missed[0] <= MOST_MISSED * 1.000001
    assert all(one > MOST_MISSED for one in missed[1:])


def test_what_a_witness_saw_of_the_way_there_is_not_held_to_what_the_way_back_loses() -> None:
    """Half of the answers are lost and no packet on its way there; two ports alone tell too little of that."""
    back = replace(CONTROL, address=PROD, kind="pair", port=1, sent=40, answered=20)
    src = source(silence(), controls=(replace(CONTROL, sent=500, answered=500), back))
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-50"), copies=4, last_copy=3)
    cells = conclude([data(TCP, src=src, wit=(witness(row),))]).cells
    assert [judge(e).reason for _, ports, e in cells if 100 in ports] == ["no-response"]
    few = replace(row, ports=PortSet.parse("1-2"))
    cells = conclude([data(TCP, src=src, wit=(witness(few),))]).cells
    assert [judge(e).reason for _, ports, e in cells if 100 in ports] == ["loss"]
