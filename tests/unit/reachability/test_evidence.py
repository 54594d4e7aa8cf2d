"""Joining reports into evidence, and the rules under the verdict table that the joining holds."""

from dataclasses import replace
from typing import Any

from reachability.evidence import Conclusion, conclude
from reachability.observation import (
    ArrivalRow,
    CanaryResult,
    ControlResult,
    Crowded,
    KernelFlow,
    NoPortsGroup,
    Observation,
    RoundData,
    RoundSpec,
    SourceReport,
    Target,
    Untokened,
    WitnessHealth,
    WitnessReport,
)
from reachability.ports import PortSet
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import Arrival, Protocol, Reachability, Reason, RoundKind, State

PROD = "10.30.0.10"
DEV = "10.10.0.10"
VIA = "eth0 10.10.0.1"
TCP = Target(id=1, environment="prod", address=PROD, protocol=Protocol.TCP, ports="1-100", witness="prod-1")
UDP = replace(TCP, id=2, protocol=Protocol.UDP)
CONTROL = ControlResult(
    address="10.0.0.1", protocol=Protocol.TCP, kind="coordinator", port=8883, source_address=DEV, via=VIA,
    sent=100, answered=100, ended_good=True,
)  # fmt: skip
HEALTHY = WitnessHealth(address=PROD, healthy=True, off_host=9)


def silence(target: Target = TCP, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "target": target.id, "source_address": DEV, "address": target.address, "protocol": target.protocol,
        "state": State.FILTERED, "reason": Reason.NO_RESPONSE, "ports": target.ports, "way": "raw", "via": VIA,
        "sent": 4, "covered": 4, "flows": 4,
    }  # fmt: skip
    return Observation(**(fields | changes))


def spec(*targets: Target, kind: RoundKind = RoundKind.NORMAL) -> RoundSpec:
    return RoundSpec(
        round="R1", kind=kind, schedule="cycle", source="dev-1", source_environment="dev", destination="prod",
        targets=targets,
    )  # fmt: skip


def source(*observations: Observation, **changes: Any) -> SourceReport:
    fields: dict[str, Any] = {
        "controls": (CONTROL, replace(CONTROL, protocol=Protocol.UDP), replace(CONTROL, protocol=Protocol.ICMP))
    }
    return SourceReport(round="R1", agent="dev-1", observations=observations, **(fields | changes))


def witness(*arrivals: ArrivalRow, health: WitnessHealth | None = HEALTHY, **changes: Any) -> WitnessReport:
    return WitnessReport(round="R1", agent="prod-1", arrivals=arrivals, health=(health,) if health else (), **changes)


def data(*targets: Target, src: SourceReport, wit: tuple[WitnessReport, ...] = (), **changes: Any) -> RoundData:
    kind = changes.pop("kind", RoundKind.NORMAL)
    return RoundData(spec=spec(*targets, kind=kind), source=src, witnesses=wit, armed={"prod-1": True}, **changes)


def verdicts(conclusion: Conclusion) -> dict[str, tuple[Verdict, Evidence]]:
    return {str(ports): (judge(e), e) for _, ports, e in conclusion.cells}


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


def test_what_the_host_lost_before_the_capture_asks_for_more_copies_and_blinds_nobody() -> None:
    """Its kernel's counters are the machine's: a packet lost anywhere must not make every witness on it worthless."""
    seen = replace(HEALTHY, off_host=400, missed=1)
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(health=seen),))]))
    verdict, evidence = found["1-100"]
    assert (verdict.reachability, verdict.row) == (Reachability.BLOCKED, 15)
    assert evidence.loss is not None
    assert 0.002 < evidence.loss < 0.05
    lossy = conclude([data(TCP, src=source(silence()), wit=(witness(health=replace(seen, missed=200)),))])
    assert verdicts(lossy)["1-100"][0].reason == "loss"
    (more,) = lossy.followups
    assert (more.kind, more.copies) == (RoundKind.NORMAL, 6)
    enough = source(silence(sent=10, covered=10, flows=10))
    found = verdicts(conclude([data(TCP, src=enough, wit=(witness(health=replace(seen, missed=200)),))]))
    assert found["1-100"][0].reachability is Reachability.BLOCKED


def test_an_arrival_splits_the_range() -> None:
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="20-30", copies=4, last_copy=3, answered=True)
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
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="1-40", copies=9, last_copy=8, answered=True)
    src = source(silence(sent=9, covered=0), controls=())
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(row),))]))
    assert found["41-100"][0].reachability is Reachability.BLOCKED
    assert found["41-100"][1].covered == 8
    early = replace(row, last_copy=0)  # arrivals stopped after the first pass: a ban, or a full table
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(early),))]))
    assert found["41-100"][0].reachability is Reachability.UNKNOWN


def test_loss_asks_for_more_copies() -> None:
    lossy = replace(CONTROL, answered=60)
    result = conclude([data(TCP, src=source(silence(), controls=(lossy,)), wit=(witness(),))])
    ((_, _, evidence),) = result.cells
    assert judge(evidence).reason == "loss"
    (more,) = result.followups
    assert more.kind is RoundKind.NORMAL
    assert more.copies > 4
    again = data(TCP, src=source(silence(sent=more.copies, covered=more.copies), controls=(lossy,)), wit=(witness(),))
    (_, _, evidence), *_ = conclude(
        [data(TCP, src=source(silence(), controls=(lossy,)), wit=(witness(),)), again]
    ).cells
    assert judge(evidence).reachability is Reachability.BLOCKED


def test_what_the_sources_own_capture_lost_is_loss() -> None:
    """An answer may have been among it: without a witness silence then needs more copies."""
    alone = replace(TCP, witness="", inside="prod-2")
    answers = (silence(alone, source_address=PROD, state=State.CLOSED, reason=Reason.RESET),)
    inside = SourceReport(round="R1", agent="prod-2", role="inside", observations=answers)

    def judged(lost: int) -> Verdict:
        src = source(silence(alone), captured=1000, uncaptured=lost)
        ((_, _, evidence),) = conclude([data(alone, src=src, insides=(inside,))]).cells
        return judge(evidence)

    assert judged(0).reachability is Reachability.NO_SESSION
    assert judged(300).reason == "loss"
    src = source(silence(), captured=1000, uncaptured=300)
    ((_, _, evidence),) = conclude([data(TCP, src=src, wit=(witness(),))]).cells
    assert judge(evidence).reachability is Reachability.BLOCKED, "a witness decides without the source's capture"


def test_loss_on_ports_that_arrived_in_part_counts() -> None:
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="1-50", copies=2, last_copy=3, answered=True)
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(row),))]))
    assert found["51-100"][0].reason == "loss"


def test_loss_could_have_hidden_any_port_not_only_those_that_stayed_silent() -> None:
    """On a host where nearly everything answers, what is silent after few copies is what loss has hidden."""
    every = replace(TCP, ports="1-60000")
    answers = silence(every, state=State.CLOSED, reason=Reason.RESET, ports="1-59990", hops=1)
    rest = silence(every, ports="59991-60000", sent=5, covered=5)
    lossy = replace(CONTROL, sent=1000, answered=810)
    src = source(answers, rest, controls=(lossy,))
    found = verdicts(conclude([data(every, src=src, wit=(witness(),))]))
    assert found["59991-60000"][0].reason == "loss"
    enough = replace(src, observations=(answers, replace(rest, sent=12, covered=12)))
    found = verdicts(conclude([data(every, src=enough, wit=(witness(),))]))
    assert found["59991-60000"][0].reachability is Reachability.BLOCKED


def test_controls_that_go_elsewhere_do_not_hide_the_loss_of_the_pair() -> None:
    """However many they are; copies that were sent too fast are no loss."""
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="1-50", copies=2, last_copy=3, answered=True)
    many = replace(CONTROL, sent=5000, answered=5000)
    found = verdicts(conclude([data(TCP, src=source(silence(), controls=(many,)), wit=(witness(row),))]))
    assert found["51-100"][0].reason == "loss"
    sent = source(silence(), controls=(many,), packets=400, duration_s=0.02)
    [more] = conclude([data(TCP, src=sent, wit=(witness(row),))]).followups
    assert (more.kind, more.rate_pps) == (RoundKind.NORMAL, 5000), "a quarter of what it went at"
    fast = replace(silence(), sent=5, covered=2)
    found = verdicts(conclude([data(TCP, src=source(fast, controls=(many,)), wit=(witness(row),))]))
    assert found["51-100"][0].reachability is Reachability.BLOCKED


def test_a_kernel_packet_is_matched_by_its_source_port() -> None:
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from=DEV, source_port=40001, count=1)
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=22, source_address=DEV, source_port=40001)
    result = conclude([data(TCP, src=source(silence(), kernel_flows=(sent,)), wit=(witness(untokened=(flow,)),))])
    assert verdicts(result)["22"][0].reachability is not Reachability.BLOCKED
    assert result.followups == ()


def test_a_sweep_by_connect_is_matched_by_its_source_port() -> None:
    """Runs of ports on both sides; by another source port or address it is somebody else's packet."""
    came = Untokened(
        address=PROD, protocol=Protocol.TCP, port=0, ports="20-60", came_from=DEV, source_port=61001, count=9
    )
    answered = replace(came, ports="10-19", answered=True)
    strange = replace(came, ports="70-71", source_port=61002)
    behind_nat = replace(came, ports="80", came_from="10.20.0.9")
    sent = KernelFlow(
        address=PROD, protocol=Protocol.TCP, port=0, ports="1-50,61-90", source_address=DEV, source_port=61001
    )
    seen = (came, answered, strange, behind_nat)
    by = replace(silence(), way="connect", sent=0, covered=0, flows=0)
    result = conclude([data(TCP, src=source(by, kernel_flows=(sent,)), wit=(witness(untokened=seen),))])
    found = {str(ports): (e.arrival, e.answered) for _, ports, e in result.cells}
    assert found == {
        "10-19": (Arrival.SEEN, True),
        "20-50": (Arrival.SEEN, False),
        "51-60,70-71,80": (Arrival.NO_WITNESS, False),
        "1-9,61-69,72-79,81-100": (Arrival.NOT_SEEN, False),
    }
    [challenge] = result.followups
    assert challenge.targets[0].ports == "51-60,70-71,80"


def test_a_kernel_packet_counts_for_the_address_that_it_left_by() -> None:
    """An agent with two addresses probes from each: what came from the one does not redden the other's cells."""
    second = "10.10.0.12"
    mine, others = replace(TCP, source=DEV), replace(TCP, id=3, source=second)
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from=second, source_port=40001, count=1)
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=22, source_address=second, source_port=40001)
    both = source(
        silence(mine), silence(others, source_address=second), kernel_flows=(sent,),
        controls=(CONTROL, replace(CONTROL, source_address=second)),
    )  # fmt: skip
    result = conclude([data(mine, others, src=both, wit=(witness(untokened=(flow,)),))])
    seen = {(key.source_address, str(ports)): judge(e).reachability for key, ports, e in result.cells}
    assert seen[DEV, "1-100"] is Reachability.BLOCKED
    assert seen[second, "22"] is not Reachability.BLOCKED
    assert seen[second, "1-21,23-100"] is Reachability.BLOCKED
    assert result.followups == ()


def test_packets_without_a_token_are_challenged_and_no_green_meanwhile() -> None:
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="10.20.0.9", source_port=40001, count=1)
    result = conclude([data(TCP, src=source(silence()), wit=(witness(untokened=(flow,)),))])
    found = verdicts(result)
    assert found["22"][0].reason == "undecided"
    assert found["1-21,23-100"][0].reachability is Reachability.BLOCKED
    (challenge,) = result.followups
    assert (challenge.kind, challenge.targets[0].ports) == (RoundKind.CHALLENGE, "22")


def test_a_challenge_decides_whose_packets_they_are() -> None:
    slots = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0)
    ours = tuple(1000 + index * 200 + extra for index, on in enumerate(slots) if on for extra in (20, 90))
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="10.20.0.9", source_port=40001, count=16)
    main = data(TCP, src=source(silence()), wit=(witness(untokened=(replace(flow, count=1),)),))
    small = replace(TCP, ports="22")
    asked = source(slots=slots, slot_ms=200.0)

    def challenged(times: tuple[int, ...], *controls: ControlResult) -> Verdict:
        wit = witness(untokened=(replace(flow, times_ms=times, count=len(times)),) if times else ())
        src = replace(asked, controls=controls) if controls else asked
        second = data(small, src=src, wit=(wit,), kind=RoundKind.CHALLENGE)
        return verdicts(conclude([main, second]))["22"][0]

    assert challenged(ours).reachability in {Reachability.ONE_WAY, Reachability.BLOCKED_AT_HOST}
    assert challenged(()).reachability is Reachability.BLOCKED
    assert challenged(tuple(range(900, 4800, 400))).reachability in {Reachability.BLOCKED, Reachability.UNKNOWN}
    # Nothing came: that proves something only where packets still got out afterwards, to the pair too, and few were lost.
    pair = replace(CONTROL, address=PROD, port=8000, kind="pair", sent=20, answered=1, ended_good=False)
    stopped, lossy = replace(CONTROL, ended_good=False), replace(CONTROL, sent=400, answered=200)
    for controls in (stopped,), (pair,), (CONTROL, pair), (lossy,), (replace(CONTROL, protocol=Protocol.UDP),):
        assert challenged((), *controls).reason == "undecided", controls
    assert challenged((), CONTROL, replace(pair, ended_good=True, answered=20)).reachability is Reachability.BLOCKED
    assert challenged(ours, stopped).reachability in {Reachability.ONE_WAY, Reachability.BLOCKED_AT_HOST}


def test_flows_that_the_witness_could_not_keep_leave_their_ports_undecided() -> None:
    crowded = (
        Crowded(address=PROD, protocol=Protocol.TCP, ports="22,80-81"),
        Crowded(address=PROD, protocol=Protocol.UDP, ports="5"),
    )
    result = conclude([data(TCP, src=source(silence()), wit=(witness(crowded=crowded),))])
    assert verdicts(result)["22,80-81"][0].reason == "undecided"
    assert verdicts(result)["1-21,23-79,82-100"][0].reachability is Reachability.BLOCKED
    assert [str(PortSet.parse(t.ports)) for t in result.followups[0].targets] == ["22,80-81"]


def test_a_challenge_that_was_crowded_itself_decides_nothing() -> None:
    small = replace(TCP, ports="22", first="")
    crowded = (Crowded(address=PROD, protocol=Protocol.TCP, ports="22"),)
    main = data(small, src=source(silence(small)), wit=(witness(crowded=crowded),))
    asked = source(silence(small), slots=(1, 0, 0, 1, 1, 0), slot_ms=200.0)
    second = data(small, src=asked, wit=(witness(crowded=crowded),), kind=RoundKind.CHALLENGE)
    assert verdicts(conclude([main, second]))["22"][0].reason == "undecided"


def test_noports_of_the_whole_round_or_of_groups() -> None:
    row = ArrivalRow(target=2, address=PROD, protocol=Protocol.UDP, ports="1-100", copies=4, last_copy=3)

    def round_with(noports: int) -> RoundData:
        return data(
            UDP,
            src=source(silence(UDP)),
            wit=(witness(row, health=replace(HEALTHY, noports=noports, udp_unbound=400)),),
        )

    assert verdicts(conclude([round_with(0)]))["1-100"][0].row == 12
    assert verdicts(conclude([round_with(400)]))["1-100"][0].reachability is Reachability.ONE_WAY
    mixed = conclude([round_with(200)])
    (ask,) = mixed.followups
    assert ask.kind is RoundKind.NOPORTS
    assert len(PortSet.parse(",".join(ports for _, ports in ask.groups))) == 100
    groups = (
        NoPortsGroup(target=2, ports="1-50", arrived=150, moved=150),
        NoPortsGroup(target=2, ports="51-100", arrived=150, moved=0),
    )
    follow = data(UDP, src=source(), wit=(witness(groups=groups),), kind=RoundKind.NOPORTS)
    found = verdicts(conclude([round_with(200), follow]))
    assert found["1-50"][0].reachability is Reachability.ONE_WAY
    assert found["51-100"][0].row == 12


def test_an_open_port_without_witness_needs_a_clear_canary() -> None:
    target = replace(TCP, witness="", canary=50917, inside="prod-1")
    seen = silence(target, state=State.OPEN, reason=Reason.SYN_ACK, ports="22", said="aa" * 8)
    for after, reachability in ((State.CLOSED, Reachability.REACHABLE), (State.OPEN, Reachability.UNKNOWN)):
        canary = CanaryResult(target=1, address=PROD, port=50917, before=State.FILTERED, after=after)
        (_, _, evidence), *_ = conclude([data(target, src=source(seen, canaries=(canary,)))]).cells
        assert judge(evidence).reachability is reachability
    inside = SourceReport(round="R1", agent="prod-1", role="inside", observations=(replace(seen, source_address="x"),))
    canary = CanaryResult(target=1, address=PROD, port=50917, before=State.OPEN, after=State.OPEN)
    round_ = data(target, src=source(seen, canaries=(canary,)), insides=(inside,))
    (_, _, evidence), *_ = conclude([round_]).cells
    assert (judge(evidence).reachability, judge(evidence).row) == (Reachability.REACHABLE, 2)


def test_the_own_filter_of_the_source_leaves_the_cell_unproven() -> None:
    src = source(silence(ports="22", kernel="not-sent", way="raw+connect"), silence(ports="1-21,23-100"))
    found = verdicts(conclude([data(TCP, src=src, wit=(witness(),))]))
    assert found["22"][0].reason == "local-filter"
    assert found["1-21,23-100"][0].reachability is Reachability.BLOCKED


def test_a_late_arrival_turns_the_cell_red() -> None:
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="22", copies=1, last_copy=0, answered=True)
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
    target = replace(TCP, protocol=Protocol.ICMP, ports="")
    result = conclude([data(target, src=source(silence(target)), wit=(witness(),))])
    ((_, ports, evidence),) = result.cells
    assert ports is None
    assert judge(evidence).row == 15


def test_a_witness_that_heard_in_part_does_not_tell_that_its_host_was_silent() -> None:
    """The answer may be what it missed: that would be one-way, and red."""
    row = ArrivalRow(target=1, address=PROD, protocol=Protocol.TCP, ports="1-100", copies=4, last_copy=3)
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
