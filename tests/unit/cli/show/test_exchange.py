"""What `explain` shows of the packets, and the files that it and `findings export` write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from scapy.utils import RawPcapNgReader

from cli.main import cli
from cli.show.exchange import MOST_LINES, timeline
from cli.show.render import Paint
from coordinator.api.explain import exchange_of
from coordinator.packets.exchanges import Exchanges
from coordinator.store import Store
from reachability.compare import Cell
from reachability.finding import Finding
from reachability.observation import KeptPacket
from reachability.ports import PortSet
from reachability.vocabulary import PacketRole, Protocol
from tests.support.exchanges import back, cell, copy, kept, put
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate

PLAIN = Paint(color=False)
ARRIVED = (
    kept(PacketRole.ARRIVED, 70.0, copy(0), 0),
    kept(PacketRole.ANSWERED, 70.1, back(0)),
    kept(PacketRole.STRANGE, 80.0, copy(1)),
)
SENT = (kept(PacketRole.SENT, 1.0, copy(0), 0), kept(PacketRole.CAME_BACK, 1.4, back(0), 0))
INSTEAD = (kept(PacketRole.INSTEAD, 3.0, back(9), port=0),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def lines(store: Store, sent: tuple[KeptPacket, ...], seen: tuple[KeptPacket, ...], ports: str = "22") -> list[str]:
    body = put(store, sent, seen).of_cell(cell(), PortSet.parse(ports))
    assert body is not None
    shown = timeline(exchange_of(body), PLAIN)
    assert max(map(len, shown)) <= 100, shown
    return [line.rstrip() for line in shown]


def test_both_sides_on_one_time_line(store: Store) -> None:
    first, second, *rows = lines(store, SENT, ARRIVED)
    assert " ".join(f"{first} {second}".split()) == (
        "packets ms since dev-1 sent the first; a copy's seq and TSval are its token; prod-1's clock is laid over dev-1's "
        "by the copies that both saw, to 0.150 ms"
    )
    assert [" ".join(row.split()[:4]) for row in rows] == [
        "0.000 dev-1 sent SYN",
        "0.150 prod-1 arrived SYN",
        "0.250 prod-1 answered SYN-ACK",
        "0.400 dev-1 came back",
        "10.150 prod-1 no token",
    ]
    assert ":40000 → :22  copy 1, seq " in rows[0]
    assert rows[3].endswith("TTL 64, 0.400 ms")


def test_a_witness_that_saw_nothing_of_it_shows_what_it_saw_instead(store: Store) -> None:
    shown = " ".join(" ".join(lines(store, SENT[:1], INSTEAD)).split())
    assert (
        "prod-1 was armed within 41 ms and listened for 5.0 s, healthy; it captured 12 packets of other hosts" in shown
    )
    assert "by its own clock): 3.000 prod-1 instead SYN-ACK 10.30.0.10:22 → :40009" in shown


def test_the_port_that_stands_for_another_is_named(store: Store) -> None:
    shown = " ".join(" ".join(lines(store, SENT[:1], (), "77")).split())
    assert shown.startswith(
        "packets of tcp/22, which looked the same: none of the port itself are kept; ms since dev-1"
    )


def test_a_long_exchange_ends_in_how_many_more_there_are(store: Store) -> None:
    many = tuple(kept(PacketRole.SENT, float(n), copy(n), n) for n in range(MOST_LINES + 3))
    shown = lines(store, many, ())
    at = shown.index("           … 3 more packets: --pcap FILE has them all")
    assert shown[at - 1].split()[0] == "23.000"


class Kept(Exchanges):
    """The one exchange of the test, whatever is asked for."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._body = exchanges.of_cell(cell(), PortSet.of([22]))

    def of_cell(self, asked: Cell, ports: PortSet) -> dict[str, Any] | None:
        return self._body if asked.key.protocol is Protocol.TCP else None

    def of_finding(self, finding: Finding) -> list[dict[str, Any]]:
        return [self._body] * 2 if self._body else []


@pytest.fixture
def estate(store: Store, tmp_path: Path) -> Iterator[Estate]:
    sample = Estate()
    sample.exchanges = Kept(put(store, SENT, ARRIVED))
    with served(FakeCoordinator(sample), tmp_path / "state"):
        yield sample


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--state-dir", str(tmp_path / "state")])


def test_a_finding_is_exported_and_explained_with_the_same_packets(estate: Estate, tmp_path: Path) -> None:
    name, file = estate.book.findings[0].id, tmp_path / "leak.pcapng"
    done = run(tmp_path, "findings", "export", name, "--pcap", str(file))
    assert (done.exit_code, done.output) == (0, f"{file}: 10 packets of 2 cells, as dev-1 and prod-1 saw them.\n")
    body = json.loads(run(tmp_path, "explain", name, "-o", "json").output)
    with RawPcapNgReader(str(file)) as reader:
        read = [(data.hex(), meta.ifname.decode(), meta.comments[0].decode()) for data, meta in reader]
    claimed = [(p["data"], f"{p['agent']}:{p['interface']}", p["comment"]) for p in body["exchange"]["packets"]]
    assert sorted(read) == sorted(claimed * 2)
    text = run(tmp_path, "explain", name).output
    assert "packets    ms since dev-1" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_green_cell_is_written_too(estate: Estate, tmp_path: Path) -> None:
    file = tmp_path / "green.pcapng"
    asked = ("explain", "--from", "dev-1", "--to", "10.30.0.10", "--port", "tcp/22", "--pcap", str(file))
    done = run(tmp_path, *asked)
    assert (done.exit_code, done.output) == (0, f"{file}: 5 packets of 1 cell, as dev-1 and prod-1 saw them.\n")
    assert b"dev-1 10.10.0.10 to 10.30.0.10 tcp/22: blocked, round 01JDA" in file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("findings", "export", "F-none", "--pcap", "x"),
            "there is no finding 'F-none'; `segwatch findings` lists them",
        ),
        (("findings", "export", "{id}", "--pcap", "{tmp}/no/such/dir"), "cannot be written: there is no directory"),
        (("findings", "export", "{id}"), "missing option '--pcap'"),
        (
            ("explain", "--from", "dev-1", "--to", "10.30.0.10", "--port", "icmp", "--pcap", "{tmp}/x"),
            "no packet of this cell is kept\n  An agent keeps them",
        ),
    ],
)
def test_what_cannot_be_written_is_said(
    estate: Estate, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    name = estate.book.findings[0].id
    done = run(tmp_path, *(text.format(id=name, tmp=tmp_path) for text in arguments))
    assert done.exit_code == 2
    assert words in done.output + done.stderr
    assert not (tmp_path / "x").exists()


def test_a_finding_whose_packets_are_gone_says_how_to_get_new_ones(
    estate: Estate, tmp_path: Path, store: Store
) -> None:
    estate.exchanges = Exchanges(lambda _: ())
    done = run(tmp_path, "findings", "export", estate.book.findings[0].id, "--pcap", str(tmp_path / "x"))
    assert done.exit_code == 2
    assert "`segwatch verify` makes a new round" in done.output + done.stderr
