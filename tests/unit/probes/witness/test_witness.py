"""The witness fed packet by packet: whose each one is, and what it makes of the host's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from probes.packets import token_index
from probes.packets.build import Template
from probes.packets.parse import Packet
from probes.packets.port_arrays import WINDOWS
from probes.packets.token import connect_ports, kernel_ports, token
from probes.witness.arrivals import MOST_OF_CELL
from probes.witness.witness import Witness
from reachability.arrival import Crowded, WitnessReport
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.support.sweep_frames import batch
from tests.support.witness import HERE, KEY, OTHER, OTHER_KEY, PORT, SOURCE, arm, new_witness, packet, witness_of


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_two_rounds_at_one_endpoint_do_not_take_each_others_packets_for_strange_ones(protocol: Protocol) -> None:
    def feed(witness: Witness) -> None:
        witness.packet(packet(SOURCE, 40_000, protocol, token(KEY, HERE, protocol, PORT, 0)))
        witness.packet(packet(OTHER, kernel_ports(OTHER_KEY, HERE, protocol, PORT)[3], protocol))

    first, second = witness_of(feed, arm("R1", KEY, "dev-1", protocol), arm("R2", OTHER_KEY, "stage-1", protocol))
    assert [(row.copies, row.came_from) for row in first.arrivals] == [(1, SOURCE)]
    assert first.untokened == ()
    assert second.arrivals == ()
    assert [flow.came_from for flow in second.untokened] == [OTHER]


def test_a_copy_counts_by_whatever_interface_its_flow_comes_in_now() -> None:
    """A source port comes round again, and a route changes meanwhile: that is no bridge that shows a packet twice."""

    def feed(witness: Witness) -> None:
        for copy, interface in ((0, "eth0"), (1, "eth1")):
            came = packet(SOURCE, 40_000, Protocol.UDP, token(KEY, HERE, Protocol.UDP, PORT, copy))
            witness.packet(replace(came, interface=interface))

    (report,) = witness_of(feed, arm("R1", KEY, "dev-1", Protocol.UDP))
    assert [(row.copies, row.last_copy) for row in report.arrivals] == [(2, 1)]
    assert report.untokened == ()


def test_of_two_rounds_that_a_port_fits_the_newer_one_sends() -> None:
    mine = kernel_ports(KEY, HERE, Protocol.TCP, PORT)
    others = (n.to_bytes(16) for n in range(1 << 20))
    other, shared = next(
        (key, both.pop()) for key in others if (both := {*mine} & {*kernel_ports(key, HERE, Protocol.TCP, PORT)})
    )
    first, second = witness_of(
        lambda witness: witness.packet(packet(OTHER, shared)), arm("R1", KEY, "dev-1"), arm("R2", other, "stage-1")
    )
    assert first.untokened == ()
    assert [flow.source_port for flow in second.untokened] == [shared]


def test_a_challenge_is_shown_what_leaves_by_a_port_of_another_rounds_key() -> None:
    """The challenge's own port is any: with many cells and rounds it is some other round's for some cell."""
    shared = kernel_ports(KEY, HERE, Protocol.TCP, PORT)[0]
    challenge = msgspec.structs.replace(arm("R2", OTHER_KEY, "dev-1"), kind=RoundKind.CHALLENGE)
    normal = arm("R1", KEY, "dev-1")
    for arms in (
        (normal, challenge),
        (msgspec.structs.replace(normal, kind=RoundKind.CHALLENGE), challenge),
        (challenge, normal),
    ):
        for report in witness_of(lambda witness: witness.packet(packet(SOURCE, shared)), *arms):
            assert [(flow.came_from, flow.count) for flow in report.untokened] == [(SOURCE, 1)]


def test_a_round_that_is_over_takes_no_packet_from_another() -> None:
    shared = kernel_ports(KEY, HERE, Protocol.TCP, PORT)[0]

    async def play() -> WitnessReport:
        witness = new_witness()
        await witness.arm(arm("R1", KEY, "dev-1"))
        await witness.close("R1")
        await witness.arm(arm("R2", OTHER_KEY, "dev-1"))
        witness.packet(packet(SOURCE, shared))
        return await witness.close("R2")

    assert [flow.source_port for flow in asyncio.run(play()).untokened] == [shared]


def test_a_packet_that_nobody_explains_is_strange_to_every_round() -> None:
    strange = next(p for p in range(40_000, 40_100) if p not in kernel_ports(KEY, HERE, Protocol.TCP, PORT))
    first, second = witness_of(
        lambda witness: witness.packet(packet(OTHER, strange)),
        arm("R1", KEY, "dev-1"),
        arm("R2", OTHER_KEY, "stage-1"),
    )
    assert [flow.source_port for flow in (*first.untokened, *second.untokened)] == [strange, strange]


def test_what_the_host_sends_back_is_an_answer_and_an_icmp_error_is_none() -> None:
    """It may be the host's own firewall that refuses: row 10 of the table would call that a packet let in."""
    icmp = Packet(
        at=1.0, incoming=False, to_host=False, interface="eth0", family=4, source=HERE, destination=SOURCE, ttl=64,
        protocol=1, icmp_type=3, icmp_code=13, quote=packet(SOURCE, 40_000, Protocol.UDP),
    )  # fmt: skip

    def feed(*answers: Packet) -> Callable[[Witness], None]:
        def play(witness: Witness) -> None:
            for one in (packet(SOURCE, 40_000, Protocol.UDP, token(KEY, HERE, Protocol.UDP, PORT, 0)), *answers):
                witness.packet(one)

        return play

    round_ = arm("R1", KEY, "dev-1", Protocol.UDP)
    for answers, answered in (
        ((), False),
        ((icmp,), False),
        ((packet(SOURCE, 40_000, Protocol.UDP, back=True),), True),
    ):
        [report] = witness_of(feed(*answers), round_)
        assert [row.answered for row in report.arrivals] == [answered], answers


def test_a_sweep_full_of_strange_packets_does_not_hide_another_rounds() -> None:
    """When there are more strange flows than can be kept, the rest is not looked at; unless another round listens too."""
    wide = Target(
        id=1, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.parse("1-65535"), witness="prod-1"
    )
    swept = msgspec.structs.replace(arm("R1", KEY, "dev-1"), targets=(wide,))
    strange = [packet(OTHER, 1024 + n) for n in range(MOST_OF_CELL + 5)]
    tokened = packet(SOURCE, 40_000, tok=token(OTHER_KEY, HERE, Protocol.TCP, PORT, 0))

    def feed(witness: Witness) -> None:
        for one in strange:
            witness.packet(one)
        frame = Template(SOURCE, HERE, Protocol.TCP).build(40_000, PORT, token(OTHER_KEY, HERE, Protocol.TCP, PORT, 0))
        used.append(bool(witness.sweep_reader.read(batch(4, [frame]))[0]))
        if not used[-1]:
            witness.packet(tokened)

    used: list[bool] = []
    [first] = witness_of(feed, swept)
    assert first.crowded == (Crowded(address=HERE, protocol=Protocol.TCP, ports=PortSet.of([PORT])),)
    assert used == [True]
    _, second = witness_of(feed, swept, arm("R2", OTHER_KEY, "stage-1"))
    assert used == [True, False]
    assert [row.ports for row in second.arrivals] == [PortSet.of([PORT])]


def test_a_port_with_many_strange_flows_does_not_touch_the_others() -> None:
    target = Target(
        id=1, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.parse("22,5000"), witness="prod-1"
    )
    both = msgspec.structs.replace(arm("R1", KEY, "dev-1"), targets=(target,))

    def feed(witness: Witness) -> None:
        for number in range(3 * MOST_OF_CELL):
            witness.packet(packet(OTHER, 1024 + number))
        witness.packet(replace(packet(OTHER, 999), dport=22))
        witness.packet(packet(SOURCE, kernel_ports(KEY, HERE, Protocol.TCP, PORT)[0]))

    [report] = witness_of(feed, both)
    assert [row.ports for row in report.crowded] == [PortSet.of([PORT])]
    assert {(row.port, row.source_port) for row in report.untokened} >= {(22, 999)}
    assert any(row.came_from == SOURCE for row in report.untokened), (
        "the round's own kernel packet is kept all the same"
    )


def test_the_small_flows_of_a_challenge_are_one_row() -> None:
    challenge = msgspec.structs.replace(arm("R1", KEY, "dev-1"), kind=RoundKind.CHALLENGE)

    def feed(witness: Witness) -> None:
        for number in range(300):
            witness.packet(packet(OTHER, 1024 + number))
        for _ in range(8):
            witness.packet(packet(OTHER, 999))

    [report] = witness_of(feed, challenge)
    assert not report.crowded
    rows = {row.source_port: row for row in report.untokened}
    assert set(rows) == {0, 999}
    assert (rows[0].flows, rows[0].largest, rows[0].count, len(rows[0].times_ms)) == (300, 1, 300, 300)
    assert (rows[999].flows, rows[999].largest, rows[999].count) == (1, 8, 8)


def test_a_sweep_whose_source_port_another_one_connects_from_is_seen_all_the_same() -> None:
    """A round in its tail knows the ports that its source would connect from: by chance they are those of the next one's copies."""
    wide = Target(
        id=1, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.parse("1-1000"), witness="prod-1"
    )
    older = msgspec.structs.replace(arm("R1", KEY, "dev-1"), targets=(wide,))
    newer = msgspec.structs.replace(arm("R2", OTHER_KEY, "stage-1"), targets=(wide,))
    shared = connect_ports(KEY, 0, WINDOWS[0])[0]

    def feed(witness: Witness) -> None:
        copies = [
            Template(SOURCE, HERE, Protocol.TCP).build(shared, port, token(OTHER_KEY, HERE, Protocol.TCP, port, 0))
            for port in range(596, 617)
        ]
        strange = Template(OTHER, HERE, Protocol.TCP).build(shared, 700, bytes(8))
        assert witness.sweep_reader.read(batch(4, [*copies, strange])).all()

    first, second = witness_of(feed, older, newer)
    assert [(str(row.ports), row.copies) for row in second.arrivals] == [("596-616", 1)]
    assert first.arrivals == ()
    assert [(row.came_from, str(row.ports)) for row in first.untokened] == [(OTHER, "700")]


def test_where_the_source_sends_raw_nobody_is_expected_to_connect() -> None:
    wide = Target(id=1, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.parse("1-1000"))
    frame = Template(OTHER, HERE, Protocol.TCP).build(connect_ports(KEY, 0, WINDOWS[0])[0], 700, bytes(8))
    for connects in (True, False):
        order = msgspec.structs.replace(arm("R1", KEY, "dev-1"), targets=(wide,), connects=connects)
        used: list[bool] = []
        witness_of(lambda witness, used=used: used.append(bool(witness.sweep_reader.read(batch(4, [frame]))[0])), order)  # type: ignore[misc]
        assert used == [connects]


def test_a_swept_endpoint_probed_from_two_addresses_of_one_agent_is_two_targets() -> None:
    """The tokens are the same: what one address may reach must not be said of the other. Behind NAT it is said of both."""
    sources = ("10.10.0.10", "10.10.0.12")
    wide = [
        Target(
            id=n, environment="prod", address=HERE, protocol=Protocol.TCP, ports=PortSet.parse("1-65535"), source=source
        )
        for n, source in enumerate(sources, start=1)
    ]
    both = msgspec.structs.replace(arm("R1", KEY, "dev-1"), targets=tuple(wide))

    def copy(source: str, port: int) -> bytes:
        return Template(source, HERE, Protocol.TCP).build(40_000, port, token(KEY, HERE, Protocol.TCP, port, 0))

    def feed(witness: Witness) -> None:
        frames = [copy(sources[0], 22), copy(sources[1], 80), copy("192.0.2.7", 443)]
        assert witness.sweep_reader.read(batch(4, frames)).all()

    [report] = witness_of(feed, both)
    seen = {(row.target, port) for row in report.arrivals for port in row.ports}
    assert seen == {(1, 22), (2, 80), (1, 443), (2, 443)}


def test_the_lowest_and_the_highest_copy_that_came_are_reported() -> None:
    """A trace's copies rise with the TTL: the lowest tells how far it is."""

    def feed(witness: Witness) -> None:
        for copy in (9, 7, 40):
            witness.packet(packet(SOURCE, 40000 + copy, tok=token(KEY, HERE, Protocol.TCP, PORT, copy)))

    (report,) = witness_of(feed, arm("r", KEY, "dev-1"))
    assert [(row.copies, row.first_copy, row.last_copy) for row in report.arrivals] == [(3, 7, 40)]


def test_it_listens_to_a_round_from_arming_to_closing_and_not_at_all_without_a_capture() -> None:
    """A dark address of several is in its health; this is what the coordinator takes for no witness at all."""

    async def play() -> list[bool]:
        witness, blind = new_witness(), Witness("prod-1", None)
        said = [witness.listens("R1")]
        await witness.arm(arm("R1", KEY, "dev-1"))
        await blind.arm(arm("R1", KEY, "dev-1"))
        said += [witness.listens("R1"), blind.listens("R1")]
        await witness.close("R1")
        return [*said, witness.listens("R1")]

    assert asyncio.run(play()) == [False, True, False, False]


def test_a_packet_is_first_asked_whether_it_is_the_newest_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be sure that it is no older one's takes all tokens of that, 256 of them: thousands of ports made seconds of it."""
    keys = tuple(bytes((number,)) * 16 for number in range(4))
    made: list[bytes] = []

    def counted(key: bytes, *cell: object) -> bytes:
        made.append(key)
        return token(key, *cell)  # type: ignore[arg-type]

    async def play() -> list[int]:
        witness = new_witness()
        for number, key in enumerate(keys):
            await witness.arm(arm(str(number), key, "dev-1"))
            if number < 2:
                await witness.close(str(number))
        witness.packet(packet(SOURCE, 40_000, tok=token(keys[3], HERE, Protocol.TCP, PORT, 0)))
        newest = list(made)
        witness.packet(packet(SOURCE, 40_000, tok=token(keys[1], HERE, Protocol.TCP, PORT, 0)))
        return [len(newest), newest.count(keys[3]), made.count(keys[0])]

    monkeypatch.setattr(token_index, "token", counted)
    assert asyncio.run(play()) == [1, 1, 0]
