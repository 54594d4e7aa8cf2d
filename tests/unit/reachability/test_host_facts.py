"""What holds of one host or target is not taken for what holds of another."""

from __future__ import annotations

from dataclasses import replace

from reachability.arrival import ArrivalRow, Untokened
from reachability.evidence import conclude
from reachability.observation import KernelFlow, Observation
from reachability.ports import PortSet
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Protocol, Reachability, RoundKind
from tests.support.round_data import DEV, HEALTHY, PROD, TCP, data, silence, source, verdicts, witness

REGISTRY = "10.30.0.21"
OTHER = replace(TCP, id=2, address=REGISTRY, witness="prod-2")


def test_further_copies_for_one_host_ask_nothing_of_the_witness_of_another() -> None:
    """The witness that was not asked did not fail: what it said before stands."""
    beside = replace(witness(health=replace(HEALTHY, address=REGISTRY)), agent="prod-2")
    first = data(TCP, OTHER, src=source(silence(), silence(OTHER)), wit=(witness(), beside))
    further = data(TCP, src=source(silence()), wit=(witness(),))
    found = {key.address: judge(e) for key, _, e in conclude([first, further]).cells}
    assert {address: verdict.row for address, verdict in found.items()} == {PROD: 15, REGISTRY: 15}
    of_both = data(TCP, OTHER, src=source(silence(), silence(OTHER)), wit=(witness(),))
    found = {key.address: judge(e) for key, _, e in conclude([first, of_both]).cells}
    assert found[PROD].reachability is Reachability.BLOCKED
    assert found[REGISTRY].reachability is Reachability.UNKNOWN, "it was asked, and did not report"


def test_what_the_kernel_sent_to_one_host_explains_nothing_at_another() -> None:
    """The same source port to two hosts is two flows: the packet that came in is challenged, not taken for ours."""
    came = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from=DEV, source_port=40001, count=1)
    sent = KernelFlow(address=REGISTRY, protocol=Protocol.TCP, port=22, source_address=DEV, source_port=40001)
    result = conclude([data(TCP, src=source(silence(), kernel_flows=(sent,)), wit=(witness(untokened=(came,)),))])
    found = {str(ports): judge(e) for _, ports, e in result.cells}
    assert found["22"].reason == "undecided"
    assert [(more.kind, str(more.targets[0].ports)) for more in result.followups] == [(RoundKind.CHALLENGE, "22")]


def test_what_a_witness_saw_of_a_target_that_the_source_did_not_try_is_no_control() -> None:
    """It is not known by which next hop that went, so it shows of none that packets get out."""
    row = ArrivalRow(
        target=2, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("200-240"), copies=9, last_copy=8
    )
    beside = replace(TCP, id=2, ports=PortSet.parse("200-300"))

    def of_the_first(*tried: Observation) -> Evidence:
        src = source(silence(sent=9, covered=0), *tried, controls=())
        return verdicts(conclude([data(TCP, beside, src=src, wit=(witness(row),))]))["1-100"][1]

    alone, both = of_the_first(), of_the_first(silence(beside, sent=9, covered=0))
    assert (alone.control, judge(alone).reachability) == (False, Reachability.UNKNOWN)
    assert (both.control, judge(both).reachability) == (True, Reachability.BLOCKED), "of one that it tried it is"
