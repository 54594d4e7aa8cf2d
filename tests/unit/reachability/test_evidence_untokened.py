"""Whose the packets are that came without a token."""

from dataclasses import replace

from reachability.arrival import ArrivalRow, Crowded, Untokened
from reachability.evidence import conclude
from reachability.observation import ControlResult, KernelFlow
from reachability.ports import PortSet
from reachability.verdict import Verdict, judge
from reachability.vocabulary import Arrival, Protocol, Reachability, RoundKind
from tests.support.round_data import CONTROL, DEV, PROD, TCP, data, silence, source, verdicts, witness


def test_a_kernel_packet_is_matched_by_its_source_port() -> None:
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from=DEV, source_port=40001, count=1)
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=22, source_address=DEV, source_port=40001)
    result = conclude([data(TCP, src=source(silence(), kernel_flows=(sent,)), wit=(witness(untokened=(flow,)),))])
    assert verdicts(result)["22"][0].reachability is not Reachability.BLOCKED
    assert result.followups == ()


def test_a_sweep_by_connect_is_matched_by_its_source_port() -> None:
    """Runs of ports on both sides; by another source port or address it is somebody else's packet."""
    came = Untokened(
        address=PROD,
        protocol=Protocol.TCP,
        port=0,
        ports=PortSet.parse("20-60"),
        came_from=DEV,
        source_port=61001,
        count=9,
    )
    answered = replace(came, ports=PortSet.parse("10-19"), answered=True)
    strange = replace(came, ports=PortSet.parse("70-71"), source_port=61002)
    behind_nat = replace(came, ports=PortSet.parse("80"), came_from="10.20.0.9")
    sent = KernelFlow(
        address=PROD,
        protocol=Protocol.TCP,
        port=0,
        ports=PortSet.parse("1-50,61-90"),
        source_address=DEV,
        source_port=61001,
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
    assert str(challenge.targets[0].ports) == "51-60,70-71,80"


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
    assert (challenge.kind, str(challenge.targets[0].ports)) == (RoundKind.CHALLENGE, "22")


def test_a_challenge_decides_whose_packets_they_are() -> None:
    slots = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0)
    ours = tuple(1000 + index * 200 + extra for index, on in enumerate(slots) if on for extra in (20, 90))
    flow = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="10.20.0.9", source_port=40001, count=16)
    main = data(TCP, src=source(silence()), wit=(witness(untokened=(replace(flow, count=1),)),))
    small = replace(TCP, ports=PortSet.parse("22"))
    asked = source(slots=slots, slot_ms=200.0, slots_sent=tuple(2 * on for on in slots))

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
        Crowded(address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22,80-81")),
        Crowded(address=PROD, protocol=Protocol.UDP, ports=PortSet.parse("5")),
    )
    result = conclude([data(TCP, src=source(silence()), wit=(witness(crowded=crowded),))])
    assert verdicts(result)["22,80-81"][0].reason == "undecided"
    assert verdicts(result)["1-21,23-79,82-100"][0].reachability is Reachability.BLOCKED
    assert [str(t.ports) for t in result.followups[0].targets] == ["22,80-81"]


def test_a_challenge_that_was_crowded_itself_decides_nothing() -> None:
    small = replace(TCP, ports=PortSet.parse("22"), first=PortSet())
    crowded = (Crowded(address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22")),)
    main = data(small, src=source(silence(small)), wit=(witness(crowded=crowded),))
    asked = source(silence(small), slots=(1, 0, 0, 1, 1, 0), slot_ms=200.0)
    second = data(small, src=asked, wit=(witness(crowded=crowded),), kind=RoundKind.CHALLENGE)
    assert verdicts(conclude([main, second]))["22"][0].reason == "undecided"


def test_a_host_that_answered_the_kernels_packet_is_not_silent_to_those_with_a_token() -> None:
    """Both came: that one of them was answered shows that the host lets them in, whatever became of the answer."""
    copies = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=4, last_copy=3, came_from=DEV
    )
    flow = Untokened(
        address=PROD, protocol=Protocol.TCP, port=22, came_from=DEV, source_port=40001, count=1, answered=True
    )
    sent = KernelFlow(address=PROD, protocol=Protocol.TCP, port=22, source_address=DEV, source_port=40001)
    heard = witness(copies, untokened=(flow,))
    result = conclude([data(TCP, src=source(silence(), kernel_flows=(sent,)), wit=(heard,))])
    verdict, evidence = verdicts(result)["22"]
    assert evidence.answered
    assert (verdict.reachability, verdict.row) == (Reachability.ONE_WAY, 10)
