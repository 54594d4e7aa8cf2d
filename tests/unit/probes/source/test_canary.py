"""What a source asks of a port that nobody serves, by protocol."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probes.packets.parse import TCP, Packet
from probes.packets.port_arrays import WINDOWS, sources_for
from probes.packets.token import CANARY_COPIES
from reachability.observation import CanaryResult
from reachability.vocabulary import Protocol, State
from tests.support.network import END, play, target

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
