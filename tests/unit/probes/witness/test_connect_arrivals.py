"""A witness knows the packets of a sweep by connect by their source ports, and gives nothing away that is not the source's."""

from __future__ import annotations

import numpy as np
import pytest

from probes.packets.build import Template
from probes.packets.columns import Columns
from probes.packets.parse import PACKET_OUTGOING
from probes.packets.port_arrays import WINDOWS, window_of
from probes.packets.token import CONNECT_COPIES, connect_ports
from probes.packets.token_index import CellId, Endpoint
from probes.witness.arrivals import Arrivals
from probes.witness.connect_arrivals import MOST
from probes.witness.sweep_reader import SweepReader
from reachability.arrival import Untokened
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.support.sweep_frames import ENDS, FAMILIES, KEY, batch, columns_of, copies, target
from wire.messages import Arm

PORTS = PortSet.parse("1-300,1000,61500,65535")
NOT_A_TOKEN = b"\1\2\3\4\5\6\7\x08"


def keyed(port: int, copy: int = 0) -> int:
    """The first source port of a copy to a port."""
    [window] = window_of(np.array([port], np.uint16)).tolist()
    return connect_ports(KEY, copy, WINDOWS[window])[0]


def syns(family: int, ports: list[int], *, copy: int = 0, source: str = "", sport: int = 0) -> list[bytes]:
    here, there = ENDS[family]
    template = Template(source or here, there, Protocol.TCP)
    return [template.build(sport or keyed(port, copy), port, NOT_A_TOKEN) for port in ports]


def answered(family: int, ports: list[int]) -> Columns:
    here, there = ENDS[family]
    template = Template(there, here, Protocol.TCP, flags="R")
    return columns_of(family, [template.build(port, keyed(port), NOT_A_TOKEN) for port in ports], PACKET_OUTGOING)


def armed(family: int, protocol: Protocol = Protocol.TCP) -> tuple[Arrivals, SweepReader]:
    arm = Arm(
        round="r", key=KEY, kind=RoundKind.NORMAL, source="dev-1", targets=(target(family, protocol, PORTS),),
        networks=("10.30.0.0/24", "fd00:30::/64"),
    )  # fmt: skip
    arrivals = Arrivals(arm, 0.0, frozenset())
    reader = SweepReader(lambda *_: None)
    reader.watch({Endpoint(ENDS[family][1], protocol): [arrivals]})
    return arrivals, reader


def union(rows: list[Untokened]) -> PortSet:
    return PortSet.union(row.ports for row in rows)


@FAMILIES
def test_what_arrives_is_a_row_a_source_port(family: int) -> None:
    arrivals, reader = armed(family)
    ports = list(PORTS)
    assert reader.read(batch(family, syns(family, ports))).all()
    reader.read(answered(family, [5, 6, 1000]).batch)
    rows = arrivals.untokened()
    assert {(str(row.ports), row.answered, row.source_port) for row in rows} == {
        ("1-4,7-300,65535", False, keyed(1)),
        ("5-6,1000", True, keyed(1)),
        ("61500", False, keyed(61500)),
    }
    assert {(row.came_from, row.port, row.address) for row in rows} == {(ENDS[family][0], 0, ENDS[family][1])}
    assert arrivals.rows() == ()


@FAMILIES
def test_each_copy_has_a_port_of_its_own(family: int) -> None:
    arrivals, reader = armed(family)
    for copy in range(CONNECT_COPIES):
        assert reader.read(batch(family, syns(family, [1, 2, 3], copy=copy))).all()
    assert {row.source_port for row in arrivals.untokened()} == {keyed(1, copy) for copy in range(CONNECT_COPIES)}


def test_other_packets_are_left() -> None:
    _, reader = armed(4)
    foreign = syns(4, [1, 2], sport=40000)
    elsewhere = syns(4, [5000])  # a port that is not probed
    wrong_window = syns(4, [1], sport=keyed(61500))
    assert not reader.read(batch(4, [*foreign, *elsewhere, *wrong_window])).any()
    assert reader.read(batch(4, [*foreign, *syns(4, [1])])).tolist() == [False, False, True]


def test_a_token_counts_before_a_source_port() -> None:
    arrivals, reader = armed(4)
    assert reader.read(batch(4, copies(4, Protocol.TCP, [1, 2], 0, sport=keyed(1)))).all()
    assert not arrivals.untokened()
    assert [str(row.ports) for row in arrivals.rows()] == ["1-2"]


def test_datagrams_are_known_by_their_token_alone() -> None:
    arrivals, reader = armed(4, Protocol.UDP)
    here, there = ENDS[4]
    frame = Template(here, there, Protocol.UDP).build(keyed(1), 1, NOT_A_TOKEN)
    assert not reader.read(batch(4, [frame])).any()
    assert not arrivals.untokened()


def test_so_many_sources_and_no_more() -> None:
    arrivals, reader = armed(4)
    frames = [frame for n in range(MOST + 9) for frame in syns(4, [7], source=f"10.10.{n >> 8}.{n & 255}")]
    assert np.count_nonzero(reader.read(batch(4, frames))) == MOST
    assert len(arrivals.untokened()) == MOST


@pytest.mark.parametrize("after", ["closed", "forgotten"])
def test_after_its_report_a_round_takes_no_more(after: str) -> None:
    arrivals, reader = armed(4)
    reader.read(batch(4, syns(4, [1])))
    if after == "closed":
        arrivals.closed = True
        assert not reader.read(batch(4, syns(4, [2]))).any()
        assert union(list(arrivals.untokened())) == PortSet.of([1])
    else:
        arrivals.forget_flows()
        assert not arrivals.untokened()


def test_all_source_ports_are_the_rounds_own() -> None:
    arrivals, _ = armed(4)
    cell = CellId(ENDS[4][1], Protocol.TCP, 1)
    assert all(arrivals.by_kernel(cell, keyed(port, copy)) for port in (1, 61500) for copy in range(CONNECT_COPIES))
    other = Arrivals(replace_key(arrivals.arm), 0.0, frozenset())
    assert not all(other.by_kernel(cell, keyed(1, copy)) for copy in range(CONNECT_COPIES))


def replace_key(arm: Arm) -> Arm:
    return Arm(round="s", key=bytes(16), kind=arm.kind, source=arm.source, targets=arm.targets, networks=arm.networks)


def test_the_ports_lie_in_their_window() -> None:
    for window in WINDOWS:
        for copy in range(CONNECT_COPIES):
            ports = connect_ports(KEY, copy, window)
            assert all(window[0] <= port <= window[1] for port in ports)


def test_a_window_is_swept_from_another() -> None:
    for port in PORTS:
        [at] = [n for n, (low, high) in enumerate(WINDOWS) if low <= keyed(port) <= high]
        assert not WINDOWS[at][0] <= port <= WINDOWS[at][1]
