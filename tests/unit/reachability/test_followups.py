"""What settles what is open is asked for as long as it may settle it, and no longer."""

from __future__ import annotations

from dataclasses import replace

from reachability.arrival import ArrivalRow, NoPortsGroup
from reachability.evidence import conclude
from reachability.followups import NOPORTS_GROUPS
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, Reachability, RoundKind
from tests.support.round_data import HEALTHY, PROD, UDP, data, silence, source, verdicts, witness


def moved_for_half(*groups: PortSet) -> RoundData:
    """A round by groups, in each of which the host's counter moved for half of the copies: nothing is told."""
    rows = tuple(NoPortsGroup(target=2, ports=ports, arrived=4 * len(ports), moved=2 * len(ports)) for ports in groups)
    return data(UDP, src=source(), wit=(witness(groups=rows),), kind=RoundKind.NOPORTS)


def test_udp_ports_are_told_apart_by_groups_then_one_by_one_and_then_stay_open() -> None:
    row = ArrivalRow(target=2, address=PROD, protocol=Protocol.UDP, ports=PortSet.parse("1-100"), copies=4, last_copy=3)
    health = replace(HEALTHY, noports=200, udp_unbound=400)
    rounds = [data(UDP, src=source(silence(UDP)), wit=(witness(row, health=health),))]
    [asked] = conclude(rounds).followups
    assert asked.kind is RoundKind.NOPORTS
    assert 1 < len(asked.groups) <= NOPORTS_GROUPS
    rounds.append(moved_for_half(*(ports for _, ports in asked.groups)))
    [asked] = conclude(rounds).followups
    assert {len(ports) for _, ports in asked.groups} == {1}
    rounds.append(moved_for_half(*(ports for _, ports in asked.groups)))
    last = conclude(rounds)
    assert last.followups == (), "a third round would tell no more than the second"
    assert {verdict.reachability for verdict, _ in verdicts(last).values()} == {Reachability.ONE_WAY}, (
        "no green by that"
    )
