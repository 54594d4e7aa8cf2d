"""Two hosts that probe each other never use each other's pair of ports the other way round, sweep or not."""

from __future__ import annotations

import numpy as np

from probes.packets.port_arrays import WINDOWS, sources_for, window_of


def test_no_pair_of_ports_leads_back() -> None:
    """Else a stateful firewall takes the one's packet for the other's answer, and lets it through."""
    for low, high in WINDOWS:
        for port in (low, high, 22, 36791, 60999, 65500):
            there = sources_for(port)
            assert not any(sources_for(source)[0] <= port <= sources_for(source)[1] for source in there)


def test_sweeps_and_single_cells_take_their_ports_from_the_same_windows() -> None:
    ports = np.arange(1, 65536, dtype=np.uint16)
    assert [WINDOWS[n] for n in window_of(ports).tolist()][::997] == [sources_for(int(p)) for p in ports[::997]]
