"""What a round keeps of its packets: bounded, and nothing of other people's but their headers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.packets.build import Template
from probes.packets.parse import IPV4, IPV6, PACKET_HOST, Packet, parse
from probes.packets.retained import (
    BATCHES,
    CELL_PACKETS,
    MOST_BYTES,
    MOST_CELLS,
    OTHERS,
    SPREAD,
    Kept,
    Sample,
    SendTimes,
    spread,
)
from reachability.arrival import WitnessReport
from reachability.observation import KeptPacket, SourceReport
from reachability.vocabulary import PacketRole, Protocol
from wire.envelope import pack_up, unpack_up
from wire.messages import Batch

V4, V6 = ("10.10.0.10", "10.30.0.10"), ("fd00:10::10", "fd00:30::10")


def packet(
    ends: tuple[str, str] = V4, protocol: Protocol = Protocol.TCP, *, tok: bytes = bytes(8), at: float = 1.0
) -> Packet:
    data = Template(*ends, protocol, tail=b"secret" * 10).build(40_000, 0 if protocol is Protocol.ICMP else 22, tok)
    read = parse(data, PACKET_HOST, "eth0", IPV6 if ":" in ends[0] else IPV4, at)
    assert read is not None
    return read


def test_times_count_from_the_rounds_begin_and_bytes_are_cut() -> None:
    kept = Kept(100.0)
    long = packet(at=100.0125)
    long.raw = bytes(range(200))
    kept.note(7, 22, PacketRole.SENT, long, 3)
    [row] = kept.take([(7, 22)])
    assert row == KeptPacket(
        target=7, port=22, what=PacketRole.SENT, at_ms=12.5, data=bytes(range(MOST_BYTES)), copy=3, interface="eth0"
    )
    assert kept.take([(7, 22)]) == (), "it is given once"


@pytest.mark.parametrize("ends", [V4, V6])
@pytest.mark.parametrize("protocol", list(Protocol))
def test_of_a_packet_that_may_be_somebody_elses_only_the_headers_are_kept(
    ends: tuple[str, str], protocol: Protocol
) -> None:
    kept, one = Kept(0.0), packet(ends, protocol)
    kept.note(1, 22, PacketRole.STRANGE, one, ours=False)
    kept.note(1, 23, PacketRole.ARRIVED, one)
    headers, whole = kept.take_some()
    start = 20 if ends is V4 else 40
    assert len(headers.data) == start + (40 if protocol is Protocol.TCP else 8)
    assert whole.data == one.raw[:MOST_BYTES]
    assert b"secret" not in headers.data


def test_a_cell_keeps_its_first_packets_and_the_newest() -> None:
    kept = Kept(0.0)
    for copy in range(40):
        kept.note(1, 22, PacketRole.SENT, packet(tok=copy.to_bytes(8)), copy)
    kept.note(1, 22, PacketRole.CAME_BACK, packet(tok=b"\xff" * 8), 39)
    rows = kept.take([(1, 22)])
    assert [row.copy for row in rows] == [0, 1, 2, 3, 4, 39, 39]
    assert len(rows) == CELL_PACKETS + 1


def test_a_bridge_that_shows_a_packet_again_adds_nothing() -> None:
    kept, once = Kept(0.0), packet()
    for interface in ("eth0", "br0"):
        kept.note(1, 22, PacketRole.ARRIVED, replace(once, interface=interface), 0)
    assert [row.interface for row in kept.take_some()] == ["eth0"]


def test_what_shows_that_the_capture_works_is_kept_however_much_else_there_is() -> None:
    kept = Kept(0.0)
    for port in range(3 * MOST_CELLS):
        kept.note(1, port, PacketRole.ARRIVED, packet(), 0)
    kept.note(2, 0, PacketRole.INSTEAD, packet(), ours=False)
    rows = kept.take_some()
    assert [row.what for row in rows].count(PacketRole.INSTEAD) == 1
    assert len(rows) <= MOST_CELLS + 1


@given(st.lists(st.integers(), max_size=60, unique=True), st.integers(1, 20))
def test_a_spread_is_bounded_in_order_and_reaches_the_first(items: list[int], most: int) -> None:
    some = list(spread(items, most))
    assert len(some) == min(len(items), most)
    assert [item for item in items if item in some] == some
    assert some[:1] == items[:1]


@given(st.integers(0, 3000), st.lists(st.lists(st.integers(0, 2999), max_size=50), max_size=20))
def test_a_sample_takes_the_first_that_show_something_and_stays_with_them(count: int, batches: list[list[int]]) -> None:
    sample = Sample(count)
    before = set(sample.places.tolist())
    assert len(before) == min(count, SPREAD)
    for numbers in batches:
        places = np.array([n for n in numbers if n < count], np.int32)
        picked = {int(place) for place in places[sample.pick(places)]}
        after = set(sample.places.tolist())
        assert picked == after & set(places.tolist())
        assert before <= after
        assert len(after) <= SPREAD + OTHERS
        if len(after) < min(count, SPREAD) + OTHERS:
            assert set(places.tolist()) <= after, "while there is room every place is taken"
        before = after


def test_when_a_copy_left_is_known_for_a_while() -> None:
    times, one, other = SendTimes(), object(), object()
    times.add(one, 0, np.array([5, 9], np.int32), np.array([1.5, 2.5]))
    times.add(one, 1, np.array([9], np.int32), np.array([3.5]))
    assert [times.find(one, 0, 9), times.find(one, 1, 9), times.find(one, 0, 5)] == [2.5, 3.5, 1.5]
    assert (times.find(other, 0, 9), times.find(one, 2, 9), times.find(one, 1, 5)) == (None, None, None)
    for _ in range(BATCHES - 1):
        times.add(other, 0, np.array([9], np.int32), np.array([9.5]))
    assert times.find(one, 0, 9) is None, "that was long ago"
    assert times.find(one, 1, 9) == 3.5


def test_each_kind_of_answer_has_a_room_of_its_own() -> None:
    sample = Sample(65_535)
    closed = np.arange(20_000, 30_000, dtype=np.int32)
    sample.pick(closed, "closed")
    assert len(sample.pick(np.array([31_003], np.int32), "closed")) == 0
    assert len(sample.pick(np.array([31_003], np.int32), "open")) == 1


def test_the_largest_report_still_travels() -> None:
    """1,000 open ports on 16 hosts, each packet as long as can be and of bytes that do not compress."""
    chance, kept, back = random.Random(1), Kept(0.0), Kept(0.0)
    cells = [(target, port) for target in range(16) for port in range(1, 1001)]
    silent = [(target, port) for target in range(100, 116) for port in range(1, 1001)]
    for target, port in (*kept.choose(cells), *kept.choose(silent), *kept.choose([(t + 50, p) for t, p in cells])):
        for copy in range(8):
            for what in (PacketRole.SENT, PacketRole.CAME_BACK):
                data = chance.randbytes(MOST_BYTES)
                kept.add(target, port, what, at=chance.random(), data=data, interface="eth0", copy=copy)
                back.add(target, port, PacketRole.ARRIVED, at=1.0, data=data, interface="eth0", copy=copy)
                back.add(target, port, PacketRole.STRANGE, at=1.0, data=data[::-1], interface="eth0", copy=copy)
    source = SourceReport(round="R", agent="dev-1", kept=kept.take(kept.choose(cells, silent)))
    witness = WitnessReport(round="R", agent="prod-1", kept=back.take_some())
    assert len(source.kept) == 2 * MOST_CELLS * 2 * CELL_PACKETS
    for batch in (
        Batch(spool="s", sequence=1, age_s=0.0, sources=(source,)),
        Batch(spool="s", sequence=1, age_s=0.0, witnesses=(replace(witness, round="R2"),)),
    ):
        assert unpack_up(pack_up(batch)) == batch
