"""What `explain` claims of packets is what tshark reads from the file that the same command writes: real packets, both sides."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab.system import System
from tests.lab.small import DEV, DEV6, PROD, PROD6, REG, running, topology

pytestmark = pytest.mark.lab

HOLES = [
    f"ip saddr {DEV} ip daddr {PROD} tcp dport {{ 22, 300-302, 8000 }} accept",
    f"ip6 saddr {DEV6} ip6 daddr {PROD6} tcp dport 8000 accept",
    f"ip saddr {DEV} ip daddr {PROD} udp dport {{ 53, 9000 }} accept",
    f"ip saddr {DEV} ip daddr {REG} tcp dport 5000 accept",
    f"ip6 saddr {DEV6} ip6 daddr {PROD6} icmpv6 type echo-request accept",
    f"ip saddr {DEV} ip daddr {PROD} tcp dport 443 reject with icmpx type admin-prohibited",
]
FIELDS = (
    "frame.interface_name", "frame.comment", "frame.time_epoch", "frame.len", "frame.packet_flags_direction", "ip.src",
    "ipv6.src", "ip.dst", "ipv6.dst", "ip.ttl", "ipv6.hlim", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw",
    "tcp.flags.syn", "tcp.flags.reset", "tcp.options.timestamp.tsval", "udp.srcport", "udp.dstport", "udp.payload", "icmp.type",
    "icmpv6.type", "icmp.code",
)  # fmt: skip
SWEPT = topology().replace("rate_pps: 3000}", "rate_pps: 10000, sweep: {every: 365d, ports: [tcp/1-600]}}")
Row = dict[str, str]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(HOLES, text=SWEPT) as system:
        code, _ = system.verify("--sweep", "--from", "dev", "--to", "prod")
        assert code == 1
        yield system


def read(file: Path) -> list[Row]:
    """What tshark reads: of a field that a quoted packet has too, the outer one."""
    asked = [part for field in FIELDS for part in ("-e", field)]
    command = ["tshark", "-n", "-r", str(file), "-T", "fields", "-E", "occurrence=f", "-E", "separator=|", *asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in said.splitlines()]


def claimed(packet: dict[str, Any]) -> Row:
    """The same fields as `explain -o json` has them."""
    six = ":" in packet["source"]
    tcp, icmp = packet["protocol"] == "tcp", packet["icmp_type"] is not None
    ports = {"source": packet["source_port"], "destination": packet["destination_port"]}
    outbound = packet["what"] in {"sent", "answered"}
    found = {
        "frame.interface_name": f"{packet['agent']}:{packet['interface']}",
        "frame.comment": packet["comment"],
        "frame.time_epoch": f"{datetime.fromisoformat(packet['time']).timestamp():.6f}000",
        "frame.len": packet["length"],
        "frame.packet_flags_direction": "0x00000002" if outbound else "0x00000001",
        "ipv6.src" if six else "ip.src": packet["source"],
        "ipv6.dst" if six else "ip.dst": packet["destination"],
        "ipv6.hlim" if six else "ip.ttl": packet["ttl"],
        "tcp.srcport": ports["source"] if tcp else None,
        "tcp.dstport": ports["destination"] if tcp else None,
        "tcp.seq_raw": packet["seq"],
        "tcp.ack_raw": packet["ack"],
        "tcp.flags.syn": str(int("SYN" in packet["flags"])) if tcp else None,
        "tcp.flags.reset": str(int("RST" in packet["flags"])) if tcp else None,
        "tcp.options.timestamp.tsval": packet["ts_val"],
        "udp.srcport": ports["source"] if packet["protocol"] == "udp" else None,
        "udp.dstport": ports["destination"] if packet["protocol"] == "udp" else None,
        "udp.payload": packet["payload"] if packet["protocol"] == "udp" else None,
        "icmpv6.type" if six else "icmp.type": packet["icmp_type"],
        "icmp.code": packet["icmp_code"] if icmp and not six else None,
    }
    return {field: "" if found.get(field) is None else str(found[field]) for field in FIELDS}


def comparable(row: Row, packet: dict[str, Any]) -> Row:
    """An ICMP error has the ports and numbers of the packet that it quotes; of a payload eight bytes are claimed."""
    quoted = packet["icmp_type"] is not None and packet["icmp_id"] is None
    kept = {field: "" if quoted and field.startswith(("tcp", "udp")) else value for field, value in row.items()}
    return {**kept, "udp.payload": kept["udp.payload"][:16]}


def explained(system: System, name: str, *asked: str) -> tuple[dict[str, Any], Counter[tuple[str, int | None]]]:
    """The body of `explain`, held against the file that it writes; and how often each copy is what."""
    body = system.ask("explain", *asked)
    done = system.cli("explain", *asked, "--pcap", name, "--state-dir", "state").check()
    packets = body["exchange"]["packets"]
    assert done.stdout.startswith(f"{name}: {len(packets)} packet")
    rows = read(system.directory / name)
    packets = sorted(packets, key=lambda packet: packet["time"])
    assert [comparable(row, packet) for row, packet in zip(rows, packets, strict=True)] == list(map(claimed, packets))
    said = system.cli("explain", *asked, "--state-dir", "state").check().stdout
    assert max(map(len, said.splitlines())) <= 100, said
    return body, Counter((packet["what"], packet["copy"]) for packet in packets)


def cell(address: str, port: str) -> tuple[str, ...]:
    return "--from", "dev-1", "--to", address, "--port", port


@pytest.mark.parametrize(
    ("address", "port"),
    [(PROD, "tcp/8000"), (PROD6, "tcp/8000"), (PROD, "tcp/22"), (PROD, "udp/9000"), (PROD, "udp/53"), (PROD6, "icmp")],
)
def test_a_path_that_is_open_is_shown_from_both_sides(system: System, address: str, port: str) -> None:
    body, seen = explained(system, "open.pcapng", *cell(address, port))
    assert body["cell"]["reachability"] == "reachable"
    assert body["exchange"]["exact"] is True
    for copy in range(1, body["evidence"]["sent"] + 1):
        assert seen["sent", copy] == seen["arrived", copy] == 1
    assert seen["came-back", 1] == seen["answered", 1] == 1
    order = [packet["what"] for packet in body["exchange"]["packets"] if packet["copy"] == 1]
    assert order == ["sent", "arrived", "answered", "came-back"]
    by_side = {packet["side"]: packet for packet in body["exchange"]["packets"] if packet["copy"] == 1}
    assert by_side["witness"]["interface"] == by_side["source"]["interface"] == "eth0"
    first = [packet for packet in body["exchange"]["packets"] if packet["copy"] == 1][:2]
    assert first[0]["ttl"] - first[1]["ttl"] == 1, "one router between them"
    if port.startswith("tcp"):
        assert (first[0]["seq"], first[0]["ts_val"]) == (first[1]["seq"], first[1]["ts_val"])
        [back] = [p for p in body["exchange"]["packets"] if (p["what"], p["copy"]) == ("came-back", 1)]
        assert back["ack"] == (first[0]["seq"] + 1) % 2**32


def test_a_service_is_tried_through_the_kernel_too_and_that_is_kept(system: System) -> None:
    body, seen = explained(system, "kernel.pcapng", *cell(PROD, "tcp/8000"))
    assert seen["sent", None] >= 1
    assert seen["strange", None] >= 1
    [kernel, *_] = [packet for packet in body["exchange"]["packets"] if packet["what"] == "strange"]
    assert kernel["source"] == DEV


def test_a_host_without_a_witness_has_one_side(system: System) -> None:
    body, seen = explained(system, "one-side.pcapng", *cell(REG, "tcp/5000"))
    assert (body["exchange"]["witness"], body["exchange"]["clocks"]) == (None, None)
    assert seen["sent", 1] == seen["came-back", 1] == 1
    assert {packet["side"] for packet in body["exchange"]["packets"]} == {"source"}


@pytest.mark.parametrize(("address", "port"), [(PROD, "tcp/80"), (PROD6, "tcp/22"), (PROD, "udp/123"), (PROD, "icmp")])
def test_a_green_cell_shows_what_was_sent_and_what_the_witness_saw_instead(
    system: System, address: str, port: str
) -> None:
    body, seen = explained(system, "green.pcapng", *cell(address, port))
    assert (body["result"], body["cell"]["proof"]) == ("pass", "witnessed")
    assert sum(seen["sent", copy] for copy in range(1, 65)) == body["evidence"]["sent"] >= 3
    assert not any(seen[what, 1] for what in ("arrived", "answered", "came-back"))
    instead = [packet for packet in body["exchange"]["packets"] if packet["what"] == "instead"]
    assert instead
    assert {packet["destination"] for packet in instead} == {address}
    witness = body["exchange"]["witness"]
    assert (witness["agent"], witness["healthy"]) == ("prod-1", True)
    assert witness["off_host"] > 0
    assert 0 < witness["armed_ms"] / 1000 < witness["listened_s"]


def test_a_refusal_is_part_of_the_exchange(system: System) -> None:
    body, seen = explained(system, "refused.pcapng", *cell(PROD, "tcp/443"))
    assert body["evidence"]["reason"] == "admin-prohibited"
    backs = [packet for packet in body["exchange"]["packets"] if packet["what"] == "came-back"]
    assert {(packet["source"], packet["icmp_type"], packet["icmp_code"]) for packet in backs} == {("10.10.0.1", 3, 13)}
    assert seen["came-back", 1] == 1


@pytest.mark.parametrize("port", ["tcp/300", "tcp/301"])
def test_a_sweep_keeps_what_answered(system: System, port: str) -> None:
    body, seen = explained(system, "sweep.pcapng", *cell(PROD, port))
    assert (body["round"]["schedule"], body["cell"]["reachability"]) == ("sweep", "reachable")
    assert body["evidence"]["way"] == "ring"
    assert body["exchange"]["exact"] is True
    for copy in range(1, body["evidence"]["sent"] + 1):
        assert [seen[what, copy] for what in ("sent", "arrived", "answered", "came-back")] == [1, 1, 1, 1]


def test_a_silent_port_of_a_sweep_is_shown_by_one_that_looked_alike(system: System) -> None:
    body, seen = explained(system, "silent.pcapng", *cell(PROD, "tcp/444"))
    assert (body["round"]["schedule"], body["result"], body["exchange"]["exact"]) == ("sweep", "pass", False)
    assert abs(body["exchange"]["port"] - 444) < 60
    assert sum(seen["sent", copy] for copy in range(1, 65)) >= 3
    assert seen["instead", None] >= 1


def test_a_finding_keeps_its_packets_when_the_hole_is_closed() -> None:
    hole = f"ip saddr {DEV} ip daddr {PROD} tcp dport 300-302 accept"
    with running([hole], text=SWEPT) as system:
        assert system.verify("--sweep", "--from", "dev", "--to", "prod")[0] == 1
        [finding] = system.ask("findings")
        name = finding["id"]
        body = system.ask("explain", name)

        def exported(file: str) -> list[Row]:
            done = system.cli("findings", "export", name, "--pcap", file, "--state-dir", "state").check()
            rows = read(system.directory / file)
            assert f": {len(rows)} packets of 3 cells, as dev-1 and prod-1 saw them." in done.stdout
            return rows

        rows = exported("open.pcapng")
        assert {row["tcp.dstport"] for row in rows if "arrived" in row["frame.comment"]} == {"300", "301", "302"}
        mine = [row for row in rows if str(body["exchange"]["port"]) in {row["tcp.srcport"], row["tcp.dstport"]}]
        assert mine == list(map(claimed, body["exchange"]["packets"]))
        system.estate.rules([])
        assert system.verify("--sweep", "--from", "dev", "--to", "prod")[0] == 0
        assert [f["status"] for f in system.ask("findings") if f["id"] == name] == ["resolved"]
        assert exported("closed.pcapng") == rows, "what made it is kept, not what resolved it"
        assert explained(system, "now.pcapng", *cell(PROD, "tcp/301"))[0]["result"] == "pass"
