"""What comes in to a sweep's source ports: an answer only where the port's own copies leave from."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from probes.context import Station
from probes.packets.port_arrays import WINDOWS
from probes.packets.retained import Kept
from probes.packets.route import Route
from probes.source.cell import OPEN, SILENT
from probes.sweep.flights import Flights
from probes.sweep.target import Block
from reachability.distance import Distances
from reachability.ports import PortSet
from reachability.vocabulary import Protocol
from tests.support.network import Ports
from tests.support.sweep_frames import ENDS, KEY, answers, batch, target

ONE_BY_ONE = pytest.mark.parametrize("one_by_one", [False, True])
PORTS = (80, *(low + 7 for low, _ in WINDOWS))


def swept() -> Block:
    return Block(target(4, Protocol.UDP, PortSet.of(PORTS)), (Route("eth0", "", ENDS[4][0], b"\2" * 6),), KEY)


def came(block: Block, port: int, *, window: int, copy: int, one_by_one: bool) -> tuple[bool, int]:
    """A datagram from a port to the source port of a copy: whether the reader took it, and what it knows of the port then."""
    station: Any = Ports()
    flights = Flights(cast(Station, station), KEY, [block], Kept(0.0), Distances())
    try:
        block.tokens(copy)
        local = flights.source_port(block, copy, window)
        packets, taken = batch(4, answers(4, Protocol.UDP, [port], 0, sport=local)), False
        if one_by_one:
            packet = packets.packet(0)
            assert packet is not None
            flights.answered(copy, packet)
        else:
            taken = bool(flights.read(packets)[0])
        return taken, int(block.level[block.place[port]])
    finally:
        station.flows.release(flights)


@ONE_BY_ONE
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("window", range(len(WINDOWS)))
def test_another_agents_probe_of_our_source_port_is_no_answer(port: int, window: int, one_by_one: bool) -> None:
    """A datagram from a port that we ask, to one of our source ports: but those of its own copies, it is the other's probe."""
    block = swept()
    block.sends(block.place[list(PORTS)], 0, 0.5)
    ours = int(block.window[block.place[port]]) == window
    taken, level = came(block, port, window=window, copy=0, one_by_one=one_by_one)
    assert level == (OPEN if ours else SILENT)
    assert taken == (ours and not one_by_one), "left to whom it concerns"


@ONE_BY_ONE
@pytest.mark.parametrize("copy", [0, 1])
def test_what_was_not_asked_yet_has_not_answered(copy: int, one_by_one: bool) -> None:
    """Copy 0 went to another port alone, copy 1 to none: what the host sends there of its own accord ends no round."""
    block = swept()
    block.sends(block.place[[PORTS[1]]], 0, 0.5)
    window = int(block.window[block.place[80]])
    assert came(block, 80, window=window, copy=copy, one_by_one=one_by_one) == (False, SILENT)


@ONE_BY_ONE
def test_what_left_before_the_round_began_by_the_clock_has_its_answer(one_by_one: bool) -> None:
    """The capture's stamps are of the wall clock, which may be set: an answer that is not taken would be silence, and green."""
    block = swept()
    place = block.place[[80]]
    block.sends(place, 0, 0.5)
    block.saw_leave(place, 0, np.array([-0.2]))
    _, level = came(block, 80, window=int(block.window[place[0]]), copy=0, one_by_one=one_by_one)
    assert level == OPEN
