"""What comes in to the source ports of a job's cells."""

from __future__ import annotations

from typing import Any, cast

import pytest

from probes.context import Station
from probes.packets.parse import UDP, Packet
from probes.packets.port_arrays import WINDOWS, sources_for
from probes.packets.retained import Kept
from probes.source.cell import OPEN, SILENT, new_cell
from probes.source.cell_table import Cells
from reachability.distance import Distances
from reachability.vocabulary import Protocol
from tests.support.network import END, KEY, OWN, ROUTE, Ports, target


@pytest.mark.parametrize("port", [80, *(low + 7 for low, _ in WINDOWS)])
@pytest.mark.parametrize("window", WINDOWS)
def test_another_agents_probe_of_our_source_port_is_no_answer(port: int, window: tuple[int, int]) -> None:
    assert level(port, local=window[0] + 3, copy=0) == (OPEN if window == sources_for(port) else SILENT)


def test_what_was_not_asked_yet_has_not_answered() -> None:
    assert level(80, local=sources_for(80)[0], copy=1) == SILENT


def level(port: int, *, local: int, copy: int) -> int:
    """What is known of a port, of which copy 0 was sent, after a datagram from it to the source port of a copy."""
    station: Any = Ports()
    cells = Cells(cast(Station, station), KEY, Kept(0.0), Distances())
    cells.add(cell := new_cell(target(str(port), protocol=Protocol.UDP), port, (ROUTE,)))
    cell.sent.append(0.5)
    cells.answered(copy, Packet(1.0, True, True, "eth0", 4, END, OWN, 63, UDP, port, local))
    return cell.level
