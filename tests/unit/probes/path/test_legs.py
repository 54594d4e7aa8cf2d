"""How many legs a source's own trace finds, and what it sends for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from probes.packets.parse import Packet
from probes.packets.port_arrays import WINDOWS
from probes.packets.route import Route
from probes.path.legs import FLOWS, MOST_PATHS, MOST_TTL, PORTS
from probes.sweep.raw import SweepSource
from reachability.vocabulary import Protocol
from tests.support.network import END, ROUTE, Ran, play, target

OTHER, NEAR = "10.30.0.11", "10.31.0.10"


def router(legs: int, at: int = 2) -> Callable[[Packet], str]:
    """Who answers what ends at TTL 1 or 2 of a path that parts at one of them: flow by flow, as routers do."""
    flows: dict[tuple[int, int], int] = {}

    def answer(packet: Packet) -> str:
        number = flows.setdefault((packet.sport, packet.dport), len(flows)) if packet.ttl == at else 0
        leg = Random(number).randrange(legs)  # noqa: S311 - the same in each run
        return f"10.0.{packet.ttl}.{leg + 1}" if packet.ttl <= 2 else ""

    return answer


def traced(ran: Ran) -> list[Packet]:
    return [packet for _, packet in ran.sent if packet.ttl <= MOST_TTL]


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_the_legs_of_a_silent_path_are_counted_once_for_its_network(protocol: Protocol) -> None:
    both = (target("22", 1, END, protocol), target("22", 2, OTHER, protocol))
    ran = play(targets=both, routers=router(8))
    assert ran.report.legs == {END: 8, OTHER: 8}
    assert len({packet.destination for packet in traced(ran)}) == 1
    assert all(packet.dport >= 49152 for packet in traced(ran)), "a witness must not take them for copies of a cell"
    assert PORTS[1] < WINDOWS[0][0], "nor a firewall the other side's copies for answers"


def test_a_path_that_does_not_part_costs_few_packets() -> None:
    ran = play(targets=(target("22"),), routers=router(1))
    assert ran.report.legs == {END: 1}
    assert Counter(packet.ttl for packet in traced(ran)) == dict.fromkeys(range(1, MOST_TTL + 1), FLOWS)
    assert ran.report.packets >= len(ran.sent)


def test_silent_routers_tell_nothing() -> None:
    assert play(targets=(target("22"),)).report.legs == {END: 1}


def test_nothing_is_traced_where_all_answered_nor_for_an_echo_nor_on_the_own_link_nor_in_a_sweep() -> None:
    answered = play(lambda _: 0.001, targets=(target("80"),))
    echo = play(targets=(target("", protocol=Protocol.ICMP),))
    direct = play(targets=(target("22"),), ways=lambda *_: (replace(ROUTE, next_hop=""),))
    swept = play(kind=SweepSource, targets=(target("1-256"),))
    for ran in answered, echo, direct, swept:
        assert (traced(ran), ran.report.legs) == ([], {})


def test_each_way_out_of_the_host_is_traced_and_few_of_many() -> None:
    ways = (ROUTE, Route("eth0", "10.10.0.2", ROUTE.source, b"\x03" * 6))
    targets = tuple(target("22", n, f"10.30.{n}.1") for n in range(1, 4))
    ran = play(targets=targets, ways=lambda *_: ways, routers=router(2))
    assert len(ran.report.legs) == MOST_PATHS // len(ways), "the others say over how many flows they hold"
    assert set(ran.report.legs.values()) == {2}


def test_an_error_that_does_not_quote_the_token_counts_for_nothing() -> None:
    def forged(packet: Packet) -> str:
        if packet.ttl > MOST_TTL:
            return ""
        packet.seq ^= 1
        return f"10.99.0.{packet.sport % 200 + 1}"

    assert play(targets=(target("22"),), routers=forged).report.legs == {END: 1}
