"""Which packets stand for a cell, and in which order those of two clocks are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.json_types import Body
from coordinator.packets.exchanges import MOST_EXPORTED
from coordinator.packets.timeline import SOURCE, WITNESS, Side, timeline
from coordinator.store import Store
from reachability.finding import Finding, Kind, Status
from reachability.fold import Region
from reachability.observation import KeptPacket
from reachability.ports import ICMP_CELL, PortSet
from reachability.verdict import Evidence
from reachability.vocabulary import Declared, PacketRole, Protocol
from tests.support.exchanges import BEGAN, CELL, HERE, THERE, back, cell, copy, kept, put
from tests.support.sample import judged


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def shown(body: Body | None) -> list[tuple[str, int | None]]:
    assert body is not None
    return [(packet["what"], packet["copy"]) for packet in body["packets"]]


delays = st.floats(0.001, 50.0)


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(delays, delays, delays, delays), min_size=1, max_size=6),
    st.booleans(),
)
def test_whatever_the_clocks_say_no_copy_arrives_before_it_was_sent(
    ahead_ms: float, copies: list[tuple[float, float, float, float]], answered: bool
) -> None:
    sent, seen, now = [], [], 0.0
    for number, (pause, there, host, home) in enumerate(copies):
        now += pause
        sent.append(kept(PacketRole.SENT, now, copy(number), number))
        seen.append(kept(PacketRole.ARRIVED, now + there + ahead_ms, copy(number), number))
        if answered:
            seen.append(kept(PacketRole.ANSWERED, now + there + host + ahead_ms, back(number)))
            sent.append(kept(PacketRole.CAME_BACK, now + there + host + home, back(number), number))
    packets, clocks = timeline(
        Protocol.TCP, Side(SOURCE, "dev-1", BEGAN, sent), Side(WITNESS, "prod-1", BEGAN + 3, seen)
    )
    assert clocks is not None
    assert (clocks["within_ms"] is not None) is answered
    if answered:
        assert abs(clocks["shift_ms"] + ahead_ms) <= clocks["within_ms"] + 0.01, "the truth is within what it says"
    for number in range(len(copies)):
        mine = [packet for packet in packets if packet["copy"] == number + 1]
        wanted = ["sent", "arrived", "answered", "came-back"][: 4 if answered else 2]
        assert [packet["what"] for packet in mine] == wanted
        assert [packet["side"] for packet in mine] == ["source", "witness", "witness", "source"][: len(wanted)]


def test_without_a_copy_that_both_saw_each_side_stays_by_itself() -> None:
    instead = kept(PacketRole.INSTEAD, 100.0, back(9), port=0)
    packets, clocks = timeline(
        Protocol.TCP,
        Side(SOURCE, "dev-1", BEGAN, [kept(PacketRole.SENT, 5.0, copy(0), 0)]),
        Side(WITNESS, "prod-1", BEGAN - 2, [instead]),
    )
    assert clocks is None
    assert [(p["what"], p["time"]) for p in packets] == [
        ("instead", "1970-01-12T13:46:38.100000Z"),
        ("sent", "1970-01-12T13:46:40.005000Z"),
    ]


def test_what_the_kernel_sent_is_laid_over_what_came_without_a_token() -> None:
    packets, clocks = timeline(
        Protocol.TCP,
        Side(SOURCE, "dev-1", BEGAN, [kept(PacketRole.SENT, 5.0, copy(0)), kept(PacketRole.CAME_BACK, 5.4, back(0))]),
        Side(
            WITNESS,
            "prod-1",
            BEGAN,
            [kept(PacketRole.STRANGE, 90.0, copy(0)), kept(PacketRole.ANSWERED, 90.2, back(0))],
        ),
    )
    assert clocks == {"shift_ms": -84.9, "within_ms": 0.1}
    assert [(p["what"], p["copy"]) for p in packets] == [
        ("sent", None), ("strange", None), ("answered", None), ("came-back", None),
    ]  # fmt: skip
    assert packets[3]["rtt_ms"] == 0.4


def test_a_refusal_is_timed_by_the_copy_that_it_is_about() -> None:
    sent = [kept(PacketRole.SENT, float(n), copy(n), n) for n in range(3)]
    refusal = kept(PacketRole.CAME_BACK, 5.0, b"\x45", 1)
    packets, _ = timeline(Protocol.TCP, Side(SOURCE, "dev-1", BEGAN, [*sent, refusal]), Side(WITNESS, "", BEGAN))
    assert packets[-1]["rtt_ms"] == 4.0
    assert packets[-1]["comment"] == "the answer to copy 2 came back to dev-1, 4.000 ms after it was sent"


def test_a_cell_has_the_packets_of_its_own_port_and_source_address(store: Store) -> None:
    found = put(
        store,
        (
            kept(PacketRole.SENT, 1.0, copy(0), 0),
            kept(PacketRole.CAME_BACK, 1.4, back(0), 0),
            kept(PacketRole.SENT, 2.0, copy(0, 23), 0, port=23),
            kept(PacketRole.SENT, 9.0, copy(7), 7, target=3),
        ),
        (
            kept(PacketRole.ARRIVED, 70.0, copy(0), 0),
            kept(PacketRole.ANSWERED, 70.1, back(0)),
            kept(PacketRole.INSTEAD, 1, b"", port=0),
        ),
    )
    body = found.of_cell(cell(), PortSet.of([22]))
    assert shown(body) == [("sent", 1), ("arrived", 1), ("answered", 1), ("came-back", 1)]
    assert body is not None
    assert (body["round"], body["port"], body["exact"], body["protocol"]) == ("R1", 22, True, "tcp")
    assert body["witness"] == {
        "agent": "prod-1", "began": "1970-01-12T13:46:39.500000Z", "armed_ms": 41.0, "listened_s": 5.0, "healthy": True,
        "why": None, "off_host": 12,
    }  # fmt: skip
    assert body["source"] == {"agent": "dev-1", "address": HERE, "began": "1970-01-12T13:46:42.500000Z"}
    first = body["packets"][0]
    assert (first["source"], first["destination_port"], first["data"]) == (HERE, 22, copy(0).hex())
    everything = found.of_cell(cell(), cell().ports)
    assert everything is not None
    assert everything["port"] == 22, "of all ports the one that both sides kept"


def test_where_a_port_has_none_the_nearest_that_looked_alike_stands_for_it(store: Store) -> None:
    sent = tuple(kept(PacketRole.SENT, 1.0, copy(0, port), 0, port=port) for port in (10, 40, 90))
    found = put(store, sent, (kept(PacketRole.INSTEAD, 7.0, back(9), port=0),))
    body = found.of_cell(cell("1-50"), PortSet.of([49]))
    assert body is not None
    assert (body["port"], body["exact"], body["clocks"]) == (40, False, None), "90 is nearer to none, and not alike"
    assert shown(body) == [("instead", None), ("sent", 1)]
    assert found.of_cell(cell("50-80"), PortSet.of([60])) is None
    assert found.of_cell(replace(cell(), judged=None), cell().ports) is None
    assert (
        found.of_cell(replace(cell(), judged=judged(Evidence(protocol=Protocol.TCP), "forgotten")), cell().ports)
        is None
    )


def test_icmp_has_one_cell(store: Store) -> None:
    found = put(store, (kept(PacketRole.SENT, 1.0, b"\x45", 0, port=0, target=2),))
    body = found.of_cell(cell(None, Protocol.ICMP), ICMP_CELL)
    assert body is not None
    assert (body["port"], body["exact"], len(body["packets"])) == (None, True, 1)


def test_a_finding_has_the_packets_of_all_its_cells_of_the_rounds_that_showed_it(store: Store) -> None:
    def sent(*ports: int) -> tuple[KeptPacket, ...]:
        return tuple(kept(PacketRole.SENT, 1.0, copy(0, port), 0, port=port) for port in ports)

    put(store, sent(20, 21, 80), name="R1")
    put(store, sent(21, 22), name="R2")
    found = put(store, sent(20, 99), name="R3")
    finding = Finding(
        id="F-1", kind=Kind.UNEXPECTED_PATH, status=Status.RESOLVED, source="dev", destination="prod", agents=("dev-1",),
        source_addresses=(HERE,), addresses=(THERE,), protocol=Protocol.TCP, ports=PortSet.parse("20-22"),
        declared=Declared.DENIED, services=(), regions=(Region(CELL, PortSet.parse("20-22")),), cells=3, first_seen=1.0,
        last_seen=2.0, shown=("R1", "R2", "forgotten"),
    )  # fmt: skip
    bodies = found.of_finding(finding)
    assert {(body["port"], body["round"]) for body in bodies} == {(20, "R1"), (21, "R2"), (22, "R2")}
    assert found.of_finding(replace(finding, shown=())) == []


def test_an_export_is_bounded(store: Store) -> None:
    packets = tuple(kept(PacketRole.SENT, 1.0, copy(0), 0, port=port) for port in range(1, 1001))
    wide = Region(CELL, PortSet.parse("1-1000"))
    finding = Finding(
        id="F-1", kind=Kind.UNEXPECTED_PATH, status=Status.OPEN, source="dev", destination="prod", agents=("dev-1",),
        source_addresses=(HERE,), addresses=(THERE,), protocol=Protocol.TCP, ports=wide.ports, declared=Declared.DENIED,
        services=(), regions=(wide,), cells=1000, first_seen=1.0, last_seen=2.0, shown=("R1",),
    )  # fmt: skip
    bodies = put(store, packets).of_finding(finding)
    assert len(bodies) == MOST_EXPORTED
    assert bodies[0]["port"] == 1
    assert bodies[-1]["port"] > 990
