"""An inside control counts where it was answered at both ends of the round: a host that dies in between is no firewall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reachability.arrival import ArrivalRow
from reachability.evidence import conclude
from reachability.inside import SAMPLE
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Verdict, judge
from reachability.vocabulary import Protocol, Reachability, Reason, Role, RoundKind, State
from tests.support.round_data import HEALTHY, PROD, TCP, data, insides, silence, source, witness

ALONE = replace(TCP, ports=PortSet.parse("22"), witness="", inside="prod-2")
UDP = replace(ALONE, protocol=Protocol.UDP, ports=PortSet.parse("53"))
MANY = replace(ALONE, ports=PortSet.parse("1-100"))


def answer(target: Target = ALONE, ports: str = "", state: State = State.CLOSED) -> Observation:
    reason = {State.CLOSED: Reason.RESET, State.OPEN: Reason.SYN_ACK}.get(state, Reason.NO_RESPONSE)
    return silence(target, ports or str(target.ports), source_address="10.30.0.11", state=state, reason=reason)


def report(*observations: Observation, again: bool = False) -> SourceReport:
    return SourceReport(round="R1", agent="prod-2", role=Role.INSIDE, observations=observations, again=again)


def of(target: Target, *reports: SourceReport, **changes: Any) -> RoundData:
    return data(target, src=source(silence(target)), insides=reports, **changes)


def judged(*rounds: RoundData) -> dict[str, Verdict]:
    return {str(ports): judge(e) for _, ports, e in conclude(rounds).cells}


@pytest.mark.parametrize(
    ("target", "before", "after", "reason"),
    [
        (ALONE, State.CLOSED, State.CLOSED, ""),
        (ALONE, State.OPEN, State.OPEN, ""),
        (ALONE, State.OPEN, State.CLOSED, ""),  # its service ended, the host answers
        (ALONE, State.CLOSED, State.FILTERED, "inside-once"),
        (ALONE, State.CLOSED, None, "inside-once"),  # an agent of an older version asks once
        (ALONE, State.FILTERED, State.CLOSED, "silent-inside"),
        (UDP, State.OPEN, State.OPEN, ""),
        (UDP, State.OPEN, State.OPEN_FILTERED, "inside-once"),
    ],
)
def test_silence_is_controlled_from_inside_at_both_ends(
    target: Target, before: State, after: State | None, reason: str
) -> None:
    reports = [report(answer(target, state=before))]
    if after is not None:
        reports.append(report(answer(target, state=after), again=True))
    (verdict,) = judged(of(target, *reports)).values()
    assert (verdict.row, verdict.reason) == ((18, reason) if reason else (16, "no-response"))


def test_a_reset_from_nearer_than_the_host_needs_both_ends_too() -> None:
    reset = silence(ALONE, state=State.CLOSED, reason=Reason.RESET, hops=1)
    one, both = report(answer()), insides(answer())
    for reports, row in (((one,), 18), (both, 7)):
        found = judged(data(ALONE, src=source(reset, host_hops={PROD: 2}), insides=reports))
        assert found["22"].row == row


def test_a_service_that_says_nothing_to_the_source_needs_both_ends_too() -> None:
    """Row 13: before a host that fell silent altogether, nobody knows whether its firewall stopped the packet."""
    target = replace(TCP, ports=PortSet.parse("22"), inside="prod-2")
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=target.ports, copies=4, last_copy=3)
    heard = witness(row, health=replace(HEALTHY, bound_tcp=target.ports))
    for reports, expected in (
        ((report(answer(target)),), (18, "inside-once")),
        (insides(answer(target)), (13, "host-silent")),
    ):
        found = judged(data(target, src=source(silence(target)), wit=(heard,), insides=reports))
        assert (found["22"].row, found["22"].reason) == expected


def test_of_many_closed_ports_a_sample_is_asked_again_and_speaks_for_the_rest() -> None:
    before = report(answer(MANY, "2-100"), answer(MANY, "1", State.OPEN))
    drawn = f"11-{10 + SAMPLE}"

    def rows(*after: Observation) -> dict[str, int]:
        return {ports: verdict.row for ports, verdict in judged(of(MANY, before, report(*after, again=True))).items()}

    assert rows(answer(MANY, drawn), answer(MANY, "1", State.OPEN)) == {"1": 16, "2-100": 16}
    assert rows(answer(MANY, drawn)) == {"1": 18, "2-100": 16}, "an open one speaks for itself alone"
    assert rows(answer(MANY, f"11-{9 + SAMPLE}")) == {
        "1": 18,
        f"2-10,{10 + SAMPLE}-100": 18,
        f"11-{9 + SAMPLE}": 16,
    }
    silent = answer(MANY, "11", State.FILTERED)
    assert rows(answer(MANY, f"12-{10 + SAMPLE}"), silent) == {
        "1": 18,
        f"2-11,{11 + SAMPLE}-100": 18,
        f"12-{10 + SAMPLE}": 16,
    }, "one that fell silent takes those away that were not asked"


def test_each_round_that_sent_to_the_port_has_both_ends() -> None:
    """The host died while further copies were sent: of them nothing is known."""
    first = of(ALONE, *insides(answer()))
    assert judged(first, of(ALONE, *insides(answer())))["22"].row == 16
    assert judged(first, of(ALONE, report(answer())))["22"].reason == "inside-once"
    other = of(replace(ALONE, id=2, address="10.30.0.21"))
    assert judged(first, other)["22"].row == 16, "it was not sent to"
    challenge = data(ALONE, src=source(slots=(1, 0), slot_ms=100.0), kind=RoundKind.CHALLENGE)
    assert judged(first, challenge)["22"].row == 16


def test_what_is_closed_inside_before_settles_who_closed_it() -> None:
    """Row 8 is no silence: the host itself answers, as many hops away."""
    reset = silence(ALONE, state=State.CLOSED, reason=Reason.RESET, hops=2)
    found = judged(data(ALONE, src=source(reset, host_hops={PROD: 2}), insides=(report(answer()),)))
    assert found["22"].reachability is Reachability.REACHABLE
