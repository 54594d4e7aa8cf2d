"""What a witness makes of a sweep's copies and of its host's answers, for many at once."""

from __future__ import annotations

from probes.packets.build import Template
from probes.packets.mangling import Look
from probes.packets.parse import ACK, PACKET_OUTGOING, RST, SYN
from probes.packets.retained import Kept
from probes.witness.sweep_arrivals import SweepArrivals
from reachability.vocabulary import PacketRole, Protocol
from tests.support.sweep_frames import ENDS, FAMILIES, KEY, PORTS, PROTOCOLS, answers, columns_of, copies, target


class TestWide:
    @FAMILIES
    @PROTOCOLS
    def test_copies_are_known_by_their_token_whatever_else_comes(self, family: int, protocol: Protocol) -> None:
        sweep = SweepArrivals(target(family, protocol), KEY, Kept(0.0))
        strange = [Template(*ENDS[family], protocol).build(40000, port, b"\xee" * 8) for port in (22, 80)]
        for copy, ports in ((0, [22, 80, 443]), (2, [80])):
            frames = [strange[0], *copies(family, protocol, ports, copy), strange[1]]
            taken = sweep.take(columns_of(family, frames))
            assert taken.tolist() == [False, *([port in PORTS for port in ports]), False]
        rows = sorted(sweep.rows(), key=lambda row: row.ports.first)
        assert [(str(row.ports), row.copies, row.last_copy) for row in rows] == [("22", 1, 0), ("80", 2, 2)]
        assert {(row.came_from, row.hops, row.answered) for row in rows} == {(ENDS[family][0], 0, False)}

    def test_a_rewritten_sequence_number_leaves_the_timestamp(self) -> None:
        sweep = SweepArrivals(target(4, Protocol.TCP), KEY, Kept(0.0))
        frames = [frame[:24] + b"\1\2\3\4" + frame[28:] for frame in copies(4, Protocol.TCP, [22, 80], 1)]
        assert sweep.take(columns_of(4, frames)).all()
        assert [str(row.ports) for row in sweep.rows()] == ["22,80"]

    @PROTOCOLS
    def test_the_hosts_answers_are_told_from_its_other_packets(self, protocol: Protocol) -> None:
        sweep = SweepArrivals(target(4, protocol), KEY, Kept(0.0))
        sweep.take(columns_of(4, copies(4, protocol, [22, 80], 0)))
        good = answers(4, protocol, [22], RST | ACK)
        other = answers(4, protocol, [80], ACK if protocol is Protocol.TCP else 0, sport=40001)
        assert sweep.answers(columns_of(4, [*good, *other], PACKET_OUTGOING)).tolist() == [True, False]
        assert {str(row.ports): row.answered for row in sweep.rows()} == {"22": True, "80": False}

    @FAMILIES
    @PROTOCOLS
    def test_copies_and_the_hosts_answers_to_them_are_kept_as_they_were(self, family: int, protocol: Protocol) -> None:
        kept = Kept(0.0)
        sweep = SweepArrivals(target(family, protocol), KEY, kept)
        frames = copies(family, protocol, [22, 80], 1)
        back = answers(family, protocol, [22], SYN | ACK)
        sweep.take(columns_of(family, frames))
        sweep.answers(columns_of(family, back, PACKET_OUTGOING))
        rows = {(row.port, row.what): row for row in kept.take_some()}
        assert set(rows) == {(22, PacketRole.ARRIVED), (80, PacketRole.ARRIVED), (22, PacketRole.ANSWERED)}
        assert rows[80, PacketRole.ARRIVED].data == frames[1]
        assert rows[22, PacketRole.ANSWERED].data == back[0]
        assert {row.copy for row in rows.values()} == {1, None}
        assert {row.at_ms for row in rows.values()} == {1000.0}

    def test_a_reported_round_gives_late_copies_once(self) -> None:
        sweep = SweepArrivals(target(4, Protocol.TCP), KEY, Kept(0.0))
        sweep.take(columns_of(4, copies(4, Protocol.TCP, [22], 0)))
        assert [str(row.ports) for row in sweep.rows()] == ["22"]
        sweep.settle()
        sweep.take(columns_of(4, copies(4, Protocol.TCP, [22], 1)))
        assert not sweep.has_late, "it was reported as seen"
        sweep.take(columns_of(4, copies(4, Protocol.TCP, [80], 1)))
        assert sweep.has_late
        assert [str(row.ports) for row in sweep.rows()] == ["80"]
        assert not sweep.has_late
        assert list(sweep.rows()) == []

    def test_a_copy_read_by_itself_counts_the_same(self) -> None:
        sweep = SweepArrivals(target(4, Protocol.TCP), KEY, Kept(0.0))
        sweep.note(22, 3, "10.10.0.10", 40000, 1, Look())
        sweep.answer(22, "10.10.0.10", 40000)
        sweep.answer(80, "10.10.0.10", 40000)
        [row] = sweep.rows()
        assert (str(row.ports), row.copies, row.last_copy, row.answered, row.hops) == ("22", 1, 3, True, 1)
