"""The sweep's columns: the same packets, tokens and conclusions as one by one, for many at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.packets.build import Template
from probes.packets.burst import burst
from probes.packets.columns import Columns, split
from probes.packets.mangling import Look
from probes.packets.parse import ACK, IPV4, IPV6, PACKET_HOST, PACKET_OUTGOING, RST, SYN
from probes.packets.port_arrays import WINDOWS, place_of, port_set, window_of
from probes.packets.retained import Kept
from probes.packets.route import Route
from probes.packets.rx_ring import SNAP, Batch
from probes.packets.token import token, tokens
from probes.source.cell import CLOSED, OPEN, REFUSED, SILENT
from probes.source.job import Job
from probes.sweep.raw import SweepSource
from probes.sweep.target import Block
from probes.witness.sweep_arrivals import Wide
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Moment, Protocol, Reason, State

KEY = bytes(range(16))
ENDS = {4: ("10.10.0.10", "10.30.0.10"), 6: ("fd00:10::10", "fd00:30::10")}
PORTS = PortSet.parse("1-300,1000,65000-65535")
FAMILIES = pytest.mark.parametrize("family", [4, 6])
PROTOCOLS = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
port_sets = st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 300)), max_size=12).map(
    lambda pairs: PortSet.from_ranges((low, min(65535, low + more)) for low, more in pairs)
)


def target(family: int, protocol: Protocol, ports: PortSet = PORTS) -> Target:
    return Target(
        id=7, environment="prod", address=ENDS[family][1], protocol=protocol, ports=str(ports), witness="prod-1"
    )


def route(family: int) -> Route:
    return Route("eth0", ENDS[family][0].rpartition(".")[0] + ".1", ENDS[family][0], b"\2" * 6)


def block(family: int = 4, protocol: Protocol = Protocol.TCP) -> Block:
    return Block(target(family, protocol), (route(family),), KEY)


def batch(family: int, frames: list[bytes], pkttype: int = PACKET_HOST, interface: int = 2) -> Batch:
    data = np.zeros((len(frames), SNAP), np.uint8)
    for row, frame in enumerate(frames):
        data[row, : len(frame)] = np.frombuffer(frame[:SNAP], np.uint8)
    count = len(frames)
    return Batch(
        data=data,
        length=np.array([min(SNAP, len(frame)) for frame in frames], np.uint32),
        ethertype=np.full(count, IPV4 if family == 4 else IPV6, np.uint16),
        interface=np.full(count, interface, np.int32),
        pkttype=np.full(count, pkttype, np.uint8),
        at=np.full(count, 1.0),
    )


def columns_of(family: int, frames: list[bytes], pkttype: int = PACKET_HOST, interface: int = 2) -> Columns:
    [columns] = split(batch(family, frames, pkttype, interface))
    return columns


def copies(
    family: int, protocol: Protocol, ports: list[int], copy: int, source: str = "", sport: int = 40000
) -> list[bytes]:
    here, there = ENDS[family]
    template = Template(source or here, there, protocol)
    return [template.build(sport, port, token(KEY, there, protocol, port, copy)) for port in ports]


def answers(family: int, protocol: Protocol, ports: list[int], flags: int, sport: int = 40000) -> list[bytes]:
    """What the host sends back to the source: a segment with these flags, or a datagram."""
    here, there = ENDS[family]
    template = Template(there, here, protocol)
    at = (20 if family == 4 else 40) + 13
    made = []
    for port in ports:
        frame = bytearray(template.build(port, sport, bytes(8)))
        if protocol is Protocol.TCP:
            frame[at] = flags
        made.append(bytes(frame))
    return made


@FAMILIES
@PROTOCOLS
def test_many_packets_are_the_same_as_one_by_one(family: int, protocol: Protocol) -> None:
    source, address = ENDS[family]
    template, numbers = Template(source, address, protocol), np.array([1, 80, 443, 65535], np.uint16)
    toks = np.frombuffer(b"".join(token(KEY, address, protocol, int(p), 3) for p in numbers), np.uint8).reshape(-1, 8)
    many = template.build_many(40000, numbers, toks)
    assert [row.tobytes() for row in many] == [
        template.build(40000, int(p), token(KEY, address, protocol, int(p), 3)) for p in numbers
    ]


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


@FAMILIES
@PROTOCOLS
def test_columns_read_what_the_template_wrote(family: int, protocol: Protocol) -> None:
    columns = columns_of(family, copies(family, protocol, [22, 80], 0))
    assert (columns.family, columns.sport.tolist(), columns.dport.tolist()) == (family, [40000] * 2, [22, 80])
    assert [columns.text(a) for a in (*columns.source, *columns.destination)] == [
        ENDS[family][0], ENDS[family][0], ENDS[family][1], ENDS[family][1],
    ]  # fmt: skip
    assert columns.opens.all()
    assert columns.to_host.all()
    assert not columns.outgoing.any()
    assert columns.carries(token(KEY, ENDS[family][1], protocol, 22, 0))
    assert not columns.carries(token(KEY, ENDS[family][1], protocol, 80, 0))


@pytest.mark.parametrize("harm", ["options", "fragment", "short", "later-fragment"])
def test_what_is_not_plain_is_left_alone(harm: str) -> None:
    [frame] = copies(4, Protocol.TCP, [22], 0)
    broken = bytearray(frame)
    if harm == "options":
        broken[0] = 0x46
    elif harm == "fragment":
        broken[6] = 0x20
    elif harm == "later-fragment":
        broken[7] = 1
    else:
        broken = broken[:30]
    assert split(batch(4, [bytes(broken)])) == []


@pytest.mark.parametrize(
    ("ports", "first", "protocol", "fits"),
    [
        ("1-65535", "", Protocol.TCP, True),
        ("1-256", "", Protocol.UDP, True),
        ("1-255", "", Protocol.TCP, False),
        ("1-65535", "22", Protocol.TCP, False),  # what goes first goes slowly, and through the kernel too
        ("", "", Protocol.ICMP, False),
    ],
)
def test_sweeps_go_by_columns_and_cycles_cell_by_cell(ports: str, first: str, protocol: Protocol, fits: bool) -> None:
    one = replace(target(4, protocol, PortSet.parse(ports)), first=first)
    assert SweepSource.fits(Job(round="R1", key=KEY, targets=(one,))) is fits


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


class TestBlock:
    def test_an_open_port_stays_open_and_the_furthest_reset_counts(self) -> None:
        one, place = block(), np.array([5], np.int32)
        one.refuse(5, 0, Reason.ADMIN_PROHIBITED, "10.10.0.1", 0)
        assert one.level[5] == REFUSED
        one.took(place, State.CLOSED, Reason.RESET, np.array([1], np.int16))
        one.took(place, State.CLOSED, Reason.RESET, np.array([0], np.int16))
        assert (one.level[5], one.hops[5]) == (CLOSED, 1)
        one.took(place, State.OPEN, Reason.SYN_ACK, np.array([2], np.int16))
        one.took(place, State.CLOSED, Reason.RESET, np.array([9], np.int16))
        one.refuse(5, 3, Reason.HOST_UNREACH, "10.10.0.1", 0)
        assert (one.level[5], one.hops[5]) == (OPEN, 2)

    def test_a_reset_of_the_path_wants_further_copies_up_to_three(self) -> None:
        one, place = block(), np.array([5], np.int32)
        assert one.wants(None).all()
        one.took(place, State.CLOSED, Reason.RESET, np.array([0], np.int16))
        assert one.wants(1)[5]
        assert not one.wants(0)[5]
        for copy in range(3):
            one.sends(place, copy, 0.1)
        assert not one.wants(1)[5]

    def test_what_looks_alike_is_one_run(self) -> None:
        one = block()
        everything = np.arange(len(one), dtype=np.int32)
        for copy in range(3):
            one.sends(everything, copy, 0.0)
            one.saw_leave(everything, copy, np.full(len(one), float(copy)))
        one.took(np.array([79], np.int32), State.OPEN, Reason.SYN_ACK, np.array([1], np.int16))
        runs = {o.ports: o for o in one.observations(lambda when: when < 2)}
        assert set(runs) == {"80", "1-79,81-300,1000,65000-65535"}
        silent = runs["1-79,81-300,1000,65000-65535"]
        assert (silent.state, silent.sent, silent.flows, silent.covered) == (State.FILTERED, 3, 3, 2)
        assert (runs["80"].state, runs["80"].hops) == (State.OPEN, 1)

    def test_a_packet_is_built_once_more_as_it_was_sent(self) -> None:
        one, places = block(), np.array([5, 79], np.int32)
        frames = one.frames(places, 2, 40000)
        one.sends(places, 2, 0.4)
        one.saw_leave(places[:1], 2, np.array([0.5]))
        assert one.frame(int(one.numbers[5]), 2, 40000) == frames[0].tobytes()
        assert (one.copies_left(5), one.copies_left(79)) == ([2], [])

    def test_a_refusal_by_the_endpoint_itself_says_more(self) -> None:
        one = block(protocol=Protocol.UDP)
        one.refuse(0, 0, Reason.ADMIN_PROHIBITED, "10.10.0.1", 0)
        one.refuse(0, 1, Reason.ADMIN_PROHIBITED, ENDS[4][1], 1)
        one.refuse(1, 0, Reason.PORT_UNREACH, ENDS[4][1], 1)
        assert one.refusers[one.by[0]] == ENDS[4][1]
        assert (one.level[0], one.level[1], one.level[2]) == (REFUSED, CLOSED, SILENT)


class TestWide:
    @FAMILIES
    @PROTOCOLS
    def test_copies_are_known_by_their_token_whatever_else_comes(self, family: int, protocol: Protocol) -> None:
        wide = Wide(target(family, protocol), KEY, Kept(0.0))
        strange = [Template(*ENDS[family], protocol).build(40000, port, b"\xee" * 8) for port in (22, 80)]
        for copy, ports in ((0, [22, 80, 443]), (2, [80])):
            frames = [strange[0], *copies(family, protocol, ports, copy), strange[1]]
            taken = wide.take(columns_of(family, frames))
            assert taken.tolist() == [False, *([port in PORTS for port in ports]), False]
        rows = sorted(wide.rows(), key=lambda row: row.ports)
        assert [(row.ports, row.copies, row.last_copy) for row in rows] == [("22", 1, 0), ("80", 2, 2)]
        assert {(row.came_from, row.hops, row.answered) for row in rows} == {(ENDS[family][0], 0, False)}

    def test_a_rewritten_sequence_number_leaves_the_timestamp(self) -> None:
        wide = Wide(target(4, Protocol.TCP), KEY, Kept(0.0))
        frames = [frame[:24] + b"\1\2\3\4" + frame[28:] for frame in copies(4, Protocol.TCP, [22, 80], 1)]
        assert wide.take(columns_of(4, frames)).all()
        assert [row.ports for row in wide.rows()] == ["22,80"]

    @PROTOCOLS
    def test_the_hosts_answers_are_told_from_its_other_packets(self, protocol: Protocol) -> None:
        wide = Wide(target(4, protocol), KEY, Kept(0.0))
        wide.take(columns_of(4, copies(4, protocol, [22, 80], 0)))
        good = answers(4, protocol, [22], RST | ACK)
        other = answers(4, protocol, [80], ACK if protocol is Protocol.TCP else 0, sport=40001)
        assert wide.answers(columns_of(4, [*good, *other], PACKET_OUTGOING)).tolist() == [True, False]
        assert {row.ports: row.answered for row in wide.rows()} == {"22": True, "80": False}

    @FAMILIES
    @PROTOCOLS
    def test_copies_and_the_hosts_answers_to_them_are_kept_as_they_were(self, family: int, protocol: Protocol) -> None:
        kept = Kept(0.0)
        wide = Wide(target(family, protocol), KEY, kept)
        frames = copies(family, protocol, [22, 80], 1)
        back = answers(family, protocol, [22], SYN | ACK)
        wide.take(columns_of(family, frames))
        wide.answers(columns_of(family, back, PACKET_OUTGOING))
        rows = {(row.port, row.what): row for row in kept.take_some()}
        assert set(rows) == {(22, Moment.ARRIVED), (80, Moment.ARRIVED), (22, Moment.ANSWERED)}
        assert rows[80, Moment.ARRIVED].data == frames[1]
        assert rows[22, Moment.ANSWERED].data == back[0]
        assert {row.copy for row in rows.values()} == {1, None}
        assert {row.at_ms for row in rows.values()} == {1000.0}

    def test_a_reported_round_gives_late_copies_once(self) -> None:
        wide = Wide(target(4, Protocol.TCP), KEY, Kept(0.0))
        wide.take(columns_of(4, copies(4, Protocol.TCP, [22], 0)))
        assert [row.ports for row in wide.rows()] == ["22"]
        wide.settle()
        wide.take(columns_of(4, copies(4, Protocol.TCP, [22], 1)))
        assert not wide.has_late, "it was reported as seen"
        wide.take(columns_of(4, copies(4, Protocol.TCP, [80], 1)))
        assert wide.has_late
        assert [row.ports for row in wide.rows()] == ["80"]
        assert not wide.has_late
        assert list(wide.rows()) == []

    def test_a_copy_read_by_itself_counts_the_same(self) -> None:
        wide = Wide(target(4, Protocol.TCP), KEY, Kept(0.0))
        wide.note(22, 3, "10.10.0.10", 40000, 1, Look())
        wide.answer(22, "10.10.0.10", 40000)
        wide.answer(80, "10.10.0.10", 40000)
        [row] = wide.rows()
        assert (row.ports, row.copies, row.last_copy, row.answered, row.hops) == ("22", 1, 3, True, 1)


def test_flags_tell_what_opens() -> None:
    frames = answers(4, Protocol.TCP, [22, 23, 24], 0)
    at = 20 + 13
    for frame, flags in zip(range(3), (SYN, SYN | ACK, RST), strict=True):
        changed = bytearray(frames[frame])
        changed[at] = flags
        frames[frame] = bytes(changed)
    assert columns_of(4, frames).opens.tolist() == [True, False, False]


class TestWhatLeavesTogether:
    def test_controls_go_right_behind_their_part(self) -> None:
        frames = np.arange(5, dtype=np.uint8)[:, None].repeat(4, axis=1)
        rows, lengths = burst(frames, [(2, b"\xaa" * 6), (5, b"\xbb" * 3)])
        assert lengths.tolist() == [4, 4, 6, 4, 4, 4, 3]
        assert [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)] == [
            b"\x00" * 4, b"\x01" * 4, b"\xaa" * 6, b"\x02" * 4, b"\x03" * 4, b"\x04" * 4, b"\xbb" * 3,
        ]  # fmt: skip

    def test_without_controls_nothing_is_copied(self) -> None:
        frames = np.zeros((3, 4), np.uint8)
        rows, lengths = burst(frames)
        assert rows is frames
        assert lengths.tolist() == [4, 4, 4]

    def test_what_left_behind_a_control_does_not_seem_to_have_left_before_it(self) -> None:
        one, place, at = block(), np.array([5], np.int32), 123.4567891
        one.sends(place, 0, 0.0)
        one.saw_leave(place, 0, np.array([at]))
        assert at <= float(one.when[0][5]) < at + 1e-4
