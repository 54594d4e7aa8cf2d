"""What a source asks of a port that nobody serves, by protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from probes.context import Station
from probes.packets.parse import TCP, UDP, Packet
from probes.packets.port_arrays import WINDOWS, sources_for
from probes.packets.token import CANARY_BEFORE, CANARY_COPIES
from probes.source.canary import Canaries
from reachability.observation import CanaryResult
from reachability.vocabulary import Protocol, State
from tests.support.network import END, KEY, OWN, ROUTE, Ports, play, target

PORT = 50917
BOTH = (
    replace(target("22"), canary=PORT),
    replace(target("53", 2, protocol=Protocol.UDP), canary=PORT),
)


def found(results: tuple[CanaryResult, ...]) -> dict[Protocol, tuple[State, State]]:
    assert {(result.address, result.port) for result in results} == {(END, PORT)}
    return {result.protocol: (result.before, result.after) for result in results}


def test_each_protocol_is_asked_before_and_after() -> None:
    ran = play(targets=BOTH)
    asked = [packet for _, packet in ran.sent if packet.dport == PORT]
    assert len(asked) == 2 * 2 * CANARY_COPIES
    assert found(ran.report.canaries) == dict.fromkeys((Protocol.TCP, Protocol.UDP), (State.FILTERED, State.FILTERED))


@pytest.mark.parametrize("which", [Protocol.TCP, Protocol.UDP])
def test_what_answers_for_all_in_one_protocol_is_open_there_alone(which: Protocol) -> None:
    def answers(packet: Packet) -> float | None:
        return 0.001 if (packet.protocol == TCP) == (which is Protocol.TCP) else None

    said = found(play(answers, targets=BOTH).report.canaries)
    other = Protocol.UDP if which is Protocol.TCP else Protocol.TCP
    assert said == {which: (State.OPEN, State.OPEN), other: (State.FILTERED, State.FILTERED)}


def test_a_canary_leaves_from_where_the_ports_copies_do() -> None:
    """Else the other side's own copies from there would look like its answer, to a firewall and here."""
    port = WINDOWS[0][0] + 5
    ran = play(targets=(replace(BOTH[1], canary=port),))
    low, high = sources_for(port)
    assert all(low <= packet.sport <= high for _, packet in ran.sent if packet.dport == port)


@pytest.mark.parametrize("window", WINDOWS)
def test_another_agents_probe_of_a_canarys_source_port_is_no_answer(window: tuple[int, int]) -> None:
    station: Any = Ports()
    canaries = Canaries(cast(Station, station), KEY)
    canaries.add(BOTH[1], ROUTE)
    canaries.answered(CANARY_BEFORE, Packet(1.0, True, True, "eth0", 4, END, OWN, 63, UDP, PORT, window[0] + 3))
    assert canaries.results()[0].before == (State.OPEN if window == sources_for(PORT) else State.FILTERED)
