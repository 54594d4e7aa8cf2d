"""Joining reports into evidence, and the rules under the verdict table that the joining holds."""

from dataclasses import replace

from reachability.arrival import ArrivalRow, WitnessReport
from reachability.evidence import conclude
from reachability.observation import CanaryResult, Observation, SourceReport, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundData
from reachability.verdict import judge
from reachability.vocabulary import Canary, Protocol, Reachability, Reason, Role, State
from tests.support.round_data import (
    CONTROL,
    DEV,
    HEALTHY,
    PROD,
    TCP,
    UDP,
    data,
    silence,
    source,
    spec,
    verdicts,
    witness,
)


def test_silence_with_a_healthy_witness_and_a_control_is_blocked() -> None:
    result = conclude([data(TCP, src=source(silence()), wit=(witness(),))])
    ((key, ports, evidence),) = result.cells
    assert (key.agent, key.source_address, key.destination, key.address) == ("dev-1", DEV, "prod", PROD)
    assert str(ports) == "1-100"
    assert (judge(evidence).reachability, judge(evidence).row) == (Reachability.BLOCKED, 15)
    assert result.followups == ()


def test_a_witness_that_did_not_report_or_is_not_healthy_is_no_witness() -> None:
    sick = replace(HEALTHY, healthy=False, why="the capture lost packets")
    for reports, why in ((), "did not report"), ((witness(health=sick),), "lost packets"):
        (_, _, evidence), *_ = conclude([data(TCP, src=source(silence()), wit=reports)]).cells
        assert judge(evidence).reachability is Reachability.UNKNOWN
        assert why in evidence.no_witness_why


def test_an_arrival_splits_the_range() -> None:
    row = ArrivalRow(
        target=1,
        address=PROD,
        protocol=Protocol.TCP,
        ports=PortSet.parse("20-30"),
        copies=4,
        last_copy=3,
        answered=True,
    )
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(row),))]))
    assert found["20-30"][0].reachability is Reachability.ONE_WAY
    assert found["1-19,31-100"][0].reachability is Reachability.BLOCKED


def test_no_control_of_the_same_protocol_address_or_next_hop_is_no_proof() -> None:
    for controls in ((), (replace(CONTROL, protocol=Protocol.UDP),), (replace(CONTROL, via="eth1 10.9.0.1"),),
                     (replace(CONTROL, source_address="10.10.0.11"),), (replace(CONTROL, address="fd00::1"),),
                     (replace(CONTROL, answered=0),)):  # fmt: skip
        (_, _, evidence), *_ = conclude([data(TCP, src=source(silence(), controls=controls), wit=(witness(),))]).cells
        assert judge(evidence).reachability is Reachability.UNKNOWN


def test_copies_after_the_last_good_control_prove_nothing() -> None:
    src = source(silence(ports="1-50"), silence(ports="51-100", covered=0))
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(),))]))
    assert found["1-50"][0].reachability is Reachability.BLOCKED
    assert found["51-100"][0].reason == "controls-stopped"


def test_a_copy_that_a_witness_saw_is_a_source_control_for_the_passes_before_it() -> None:
    row = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-40"), copies=9, last_copy=8, answered=True
    )
    src = source(silence(sent=9, covered=0), controls=())
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(row),))]))
    assert found["41-100"][0].reachability is Reachability.BLOCKED
    assert found["41-100"][1].covered == 8
    early = replace(row, last_copy=0)  # arrivals stopped after the first pass: a ban, or a full table
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(early),))]))
    assert found["41-100"][0].reachability is Reachability.UNKNOWN


def test_an_open_port_without_witness_needs_a_clear_canary() -> None:
    target = replace(TCP, witness="", canary=50917, inside="prod-1")
    seen = silence(target, state=State.OPEN, reason=Reason.SYN_ACK, ports="22", said="aa" * 8)
    for after, reachability in ((State.CLOSED, Reachability.REACHABLE), (State.OPEN, Reachability.UNKNOWN)):
        canary = CanaryResult(target=1, address=PROD, port=50917, before=State.FILTERED, after=after)
        (_, _, evidence), *_ = conclude([data(target, src=source(seen, canaries=(canary,)))]).cells
        assert judge(evidence).reachability is reachability
    inside = SourceReport(
        round="R1", agent="prod-1", role=Role.INSIDE, observations=(replace(seen, source_address="x"),)
    )
    canary = CanaryResult(target=1, address=PROD, port=50917, before=State.OPEN, after=State.OPEN)
    round_ = data(target, src=source(seen, canaries=(canary,)), insides=(inside,))
    (_, _, evidence), *_ = conclude([round_]).cells
    assert (judge(evidence).reachability, judge(evidence).row) == (Reachability.REACHABLE, 2)


def test_each_protocol_has_a_canary_of_its_own() -> None:
    """A SYN proxy says nothing of datagrams, and what answers every datagram nothing of TCP."""
    tcp = CanaryResult(target=1, address=PROD, port=50917, before=State.OPEN, after=State.OPEN)
    udp = CanaryResult(
        target=2, address=PROD, port=50918, before=State.FILTERED, after=State.FILTERED, protocol=Protocol.UDP
    )
    for target, reason in ((TCP, Reason.SYN_ACK), (UDP, Reason.UDP_RESPONSE)):
        alone = replace(target, witness="")
        seen = silence(alone, state=State.OPEN, reason=reason, ports="53")

        def of(*canaries: CanaryResult, alone: Target = alone, seen: Observation = seen) -> Canary:
            return conclude([data(alone, src=source(seen, canaries=canaries))]).cells[0][2].canary

        other = replace(udp, before=State.OPEN)
        assert (of(tcp, udp), of(replace(tcp, before=State.CLOSED, after=State.CLOSED), other)) == (
            (Canary.OPEN, Canary.CLEAR) if target is TCP else (Canary.CLEAR, Canary.OPEN)
        )
        assert of(tcp) is Canary.OPEN, "an older agent asks over TCP alone, which speaks for all then"
        assert of(udp) is (Canary.NOT_SENT if target is TCP else Canary.CLEAR)


def test_the_own_filter_of_the_source_leaves_the_cell_unproven() -> None:
    src = source(silence(ports="22", kernel="not-sent", way="raw+connect"), silence(ports="1-21,23-100"))
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(),))]))
    assert found["22"][0].reason == "local-filter"
    assert found["1-21,23-100"][0].reachability is Reachability.BLOCKED


def test_a_late_arrival_turns_the_cell_red() -> None:
    row = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=1, last_copy=0, answered=True
    )
    late = WitnessReport(round="R1", agent="prod-1", arrivals=(row,), late=True)
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(), late))]))
    assert found["22"][0].reachability is Reachability.ONE_WAY


def test_a_port_that_the_source_never_tried_has_no_evidence() -> None:
    result = conclude([data(TCP, src=source(silence(ports="1-50")), wit=(witness(),))])
    assert PortSet.from_ranges(span for _, ports, _ in result.cells if ports for span in ports.ranges) == PortSet.parse(
        "1-50"
    )
    assert conclude([RoundData(spec=spec(TCP))]).cells == ()


def test_icmp_has_no_ports() -> None:
    target = replace(TCP, protocol=Protocol.ICMP, ports=PortSet())
    result = conclude([data(target, src=source(silence(target)), wit=(witness(),))])
    ((_, ports, evidence),) = result.cells
    assert ports == ICMP_CELL
    assert judge(evidence).row == 15


def test_a_witness_that_heard_in_part_does_not_tell_that_its_host_was_silent() -> None:
    """The answer may be what it missed: that would be one-way, and red."""
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-100"), copies=4, last_copy=3)
    whole = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(row),))]))
    assert {v.row for v, _ in whole.values()} == {11}
    part = replace(HEALTHY, healthy=False, why="its capture lost packets")
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(row, health=part),))]))
    assert {(v.reachability, v.reason) for v, _ in found.values()} == {(Reachability.UNKNOWN, "heard-in-part")}
    answered = verdicts(
        conclude([data(TCP, src=source(silence()), wit=(witness(replace(row, answered=True), health=part),))])
    )
    assert {v.row for v, _ in answered.values()} == {10}, "what it saw counts"


def test_a_report_about_a_name_that_led_nowhere_proves_nothing_and_raises_nothing() -> None:
    """Nobody sends to a name; who says so may say anything."""
    name = replace(TCP, address="db.prod.internal")
    [(verdict, evidence)] = verdicts(conclude([data(name, src=source(silence(name)))])).values()
    assert (verdict.reachability, evidence.control) == (Reachability.UNKNOWN, False)
