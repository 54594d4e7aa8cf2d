"""Ports as arrays lose and invent none, and two hosts that probe each other never use a pair of ports the other way round."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.packets.port_arrays import WINDOWS, place_of, port_set, sources_for, window_of
from probes.packets.token import token, tokens
from reachability.ports import PortSet
from reachability.vocabulary import Protocol
from tests.support.sweep_frames import ENDS, KEY


def test_no_pair_of_ports_leads_back() -> None:
    """Else a stateful firewall takes the one's packet for the other's answer, and lets it through."""
    for low, high in WINDOWS:
        for port in (low, high, 22, 36791, 60999, 65500):
            there = sources_for(port)
            assert not any(sources_for(source)[0] <= port <= sources_for(source)[1] for source in there)


def test_sweeps_and_single_cells_take_their_ports_from_the_same_windows() -> None:
    ports = np.arange(1, 65536, dtype=np.uint16)
    assert [WINDOWS[n] for n in window_of(ports).tolist()][::997] == [sources_for(int(p)) for p in ports[::997]]


port_sets = st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 300)), max_size=12).map(
    lambda pairs: PortSet.from_ranges((low, min(65535, low + more)) for low, more in pairs)
)


@given(port_sets)
def test_tokens_places_and_sets_lose_and_invent_no_port(ports: PortSet) -> None:
    address = ENDS[4][1]
    made = tokens(KEY, address, Protocol.UDP, 2, ports)
    assert [made[n * 8 : n * 8 + 8] for n in range(len(ports))] == [
        token(KEY, address, Protocol.UDP, port, 2) for port in ports
    ]
    numbers, places = place_of(ports)
    assert numbers.tolist() == list(ports)
    assert port_set(numbers) == ports
    assert [int(places[port]) for port in ports] == list(range(len(ports)))
    assert int((places >= 0).sum()) == len(ports)


def test_no_two_sweeps_use_each_others_ports_the_other_way_round() -> None:
    ports = np.arange(1, 65536, dtype=np.uint16)
    window = window_of(ports)
    for source_window, (low, high) in enumerate(WINDOWS):
        swept = ports[window == source_window]  # what is swept from this window
        back = {
            int(window_of(np.array([port], np.uint16))[0]) for port in (low, high)
        }  # where its own ports are swept from
        for other in back:
            assert not ((swept >= WINDOWS[other][0]) & (swept <= WINDOWS[other][1])).any()
