"""What is known of one cell while it is probed."""

from __future__ import annotations

from probes.classify import Outcome
from probes.packets.parse import UDP, Packet
from probes.source.cell import Refusals, new_cell, observations, verify
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State
from tests.support.witness import GATEWAY, HERE, PORT, SOURCE


def test_a_refusal_of_the_kernels_own_try_counts_without_being_a_copy_of_the_rounds() -> None:
    cell = new_cell(
        Target(id=1, environment="prod", address=HERE, protocol=Protocol.UDP, ports=PortSet.of([PORT])), PORT, ()
    )
    refusal = Packet(
        at=1.0, incoming=True, to_host=True, interface="eth0", family=4, source=GATEWAY, destination=SOURCE, ttl=63,
        protocol=1, icmp_type=3, icmp_code=13,
    )  # fmt: skip
    cell.take_refusal(refusal)
    assert (cell.state, cell.reason, cell.refused_by, cell.refusals.refused) == (
        State.FILTERED,
        Reason.ADMIN_PROHIBITED,
        GATEWAY,
        0,
    )


def test_a_copy_that_met_anything_but_a_policy_was_not_prohibited_whichever_came_first() -> None:
    rule, dead = Reason.ADMIN_PROHIBITED, Reason.HOST_UNREACH
    none = Refusals()
    assert none.with_copy(1, rule, own=False) == Refusals(1, 1, 0)
    assert none.with_copy(1, rule, own=False).with_copy(1, rule, own=False) == Refusals(1, 1, 0), "sent twice"
    assert none.with_copy(2, Reason.PORT_UNREACH, own=True) == Refusals(2, 0, 2)
    for first, second in (rule, dead), (dead, rule):
        both = none.with_copy(1, rule, own=True).with_copy(2, first, own=False).with_copy(2, second, own=True)
        assert both == Refusals(3, 0, 1)


def test_what_each_copy_was_refused_by_is_counted() -> None:
    cell = new_cell(
        Target(id=1, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.of([PORT])), PORT, ()
    )
    for copy, (sender, code) in enumerate([(GATEWAY, 13), (GATEWAY, 1), (HERE, 3), (HERE, 13)]):
        cell.sent.append(0.0)
        if copy < 3:
            cell.saw_leave(copy, 0.0)
        error = Packet(
            at=1.0, incoming=True, to_host=True, interface="eth0", family=4, source=sender, destination=SOURCE, ttl=63,
            protocol=1, icmp_type=3, icmp_code=code,
        )  # fmt: skip
        cell.take_refusal(error, copy)
    (said,) = observations([cell], lambda _, __: True, raw=True)
    assert (said.sent, said.refused, said.prohibited, said.prohibited_at_host) == (3, 3, 1, 1)


def test_a_datagram_answers_for_the_port_that_it_comes_from() -> None:
    came = Packet(1.0, True, True, "eth0", 4, HERE, SOURCE, 63, UDP, PORT, 61000)
    assert verify(b"", HERE, Protocol.UDP, PORT, 0, came) == Outcome(State.OPEN, Reason.UDP_RESPONSE)
    assert verify(b"", HERE, Protocol.UDP, PORT + 1, 0, came) is None
