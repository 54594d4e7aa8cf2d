"""Captured packets and what quotes them: at the agents, and kept at the coordinator."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import numpy as np

from coordinator.packets.headers import headers
from coordinator.packets.pcapng import pcapng
from probes.packets.build import Template
from probes.packets.columns import split
from probes.packets.parse import AH, ESP, EXTENSIONS, ICMP, ICMP6, IPV4, IPV6, PAYLOAD, TCP, UDP, Packet, parse
from probes.packets.rx_ring import SNAP, Batch
from probes.packets.token import token
from probes.source.cell import quotes, verify
from reachability.vocabulary import Protocol
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.rows import HERE, KEY, SIX, SYN, THERE

_KINDS = (IPV4, IPV6, 0x0806)


def packet(data: bytes) -> None:
    """The first byte says which ethertype, the rest is layer 3."""
    for ethertype in (_KINDS[data[0] % 3],) if data else _KINDS:
        found = parse(data[1:], data[0] >> 4 if data else 0, "eth0", ethertype, 1.0)
        if found is not None:
            _assert_packet(found, depth=0)


def _assert_packet(found: Packet, depth: int) -> None:
    assert found.family in (4, 6)
    assert ip_address(found.source).version == ip_address(found.destination).version == found.family
    assert 0 <= found.sport <= 65535
    assert 0 <= found.dport <= 65535
    assert len(found.payload) <= PAYLOAD
    assert -1 <= found.ts_val < 2**32
    assert 0 <= found.mss <= 65535
    assert 0 <= found.dscp < 64
    assert found.protocol in (TCP, UDP, ICMP, ICMP6, ESP)
    assert depth or 0 < found.start <= len(found.raw)
    if found.family == 4 and not depth:
        assert not struct.unpack_from("!H", found.raw, 6)[0] & 0x1FFF, "a later fragment has no ports"
    found.is_syn, found.is_echo_request, found.is_echo_reply, found.is_encrypted  # noqa: B018 - they must not raise
    for protocol in Protocol:
        verify(KEY, THERE, protocol, 22, 0, found)
        quotes(KEY, THERE, protocol, 22, 0, found)
    if found.quote is not None:
        assert depth == 0, "a quote quotes nothing"
        _assert_packet(found.quote, depth + 1)


def _frames() -> list[bytes]:
    """Of both families, all protocols, with options; then ICMP errors that quote them."""
    made = [
        Template(source, there, protocol).build(40_000, 22, token(KEY, there, protocol, 22, 0))
        for source, there in ((HERE, THERE), ("fd00:10::1", SIX))
        for protocol in Protocol
    ]
    quoted = []
    for frame in made:
        if frame[0] >> 4 == 4:
            quoted.append(frame[:9] + b"\x01" + frame[10:20] + b"\x03\x0d\0\0\0\0\0\0" + frame[:28])
        else:
            quoted.append(frame[:6] + b"\x3a" + frame[7:40] + b"\x01\x01\0\0\0\0\0\0" + frame[:48])
    answer = bytearray(made[0])
    answer[33] = 0x14
    six = next(frame for frame in made if frame[0] >> 4 == 6)  # noqa: PLR2004
    behind = [
        six[:6] + bytes([number]) + six[7:40] + six[6:7] + bytes(23 if number == AH else 7) + six[40:]
        for number in EXTENSIONS
    ]
    return [*made, *quoted, bytes(answer), SYN, *behind, SYN[:9] + bytes([ESP]) + SYN[10:]]


def _captured() -> list[bytes]:
    fragment, echo_reply = (
        SYN[:6] + b"\x20\x01" + SYN[8:],
        SYN[:9] + b"\x01" + SYN[10:20] + b"\0\0\0\0\0\7\0\1" + token(KEY, THERE, Protocol.ICMP, 22, 0),
    )
    sequence = token(KEY, THERE, Protocol.TCP, 22, 0)[:4]
    acks = [
        SYN[:28] + (int.from_bytes(sequence, "big") + 1).to_bytes(4, "big") + b"\xa0" + flags + SYN[34:]
        for flags in (b"\x12", b"\x14", b"\x10")
    ]
    error = SYN[:9] + b"\x01" + SYN[10:20] + b"\x03\x01\0\0\0\0\0\0"
    other = [
        error + error + SYN,
        SYN[:2] + b"\0\xe8" + SYN[4:9] + b"\x11" + SYN[10:] + bytes(200),
        fragment,
        echo_reply,
        *acks,
        SYN[:9] + b"\x2f" + SYN[10:],
        SYN[:9] + b"\x01" + SYN[10:20] + b"\x0d\0" + SYN[22:],
    ]
    return [
        *(bytes((frame[0] >> 4 == 6,)) + frame for frame in (*_frames(), *other)),
        b"\0" + SYN[:25],
        b"\1" + SYN,
        b"\2" + SYN,
        b"",
    ]


def columns(data: bytes) -> None:
    """The same packets in columns and one by one: what both read is the same. Rows are cut by the length in front."""
    rows: list[bytes] = []
    at = 0
    while at < len(data) and len(rows) < 8:
        size = min(data[at], SNAP, len(data) - at - 1)
        rows.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    if not rows:
        return
    matrix = np.full((len(rows), SNAP), 0xFF, np.uint8)
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = np.frombuffer(row, np.uint8)
    count = len(rows)
    kinds = np.array([IPV6 if row[:1] and row[0] >> 4 == 6 else IPV4 for row in rows], np.uint16)
    batch = Batch(
        matrix,
        np.array([len(row) for row in rows], np.uint32),
        kinds,
        np.ones(count, np.int32),
        np.zeros(count, np.uint8),
        np.ones(count),
    )
    for group in split(batch):
        for place, row in enumerate(group.rows.tolist()):
            said = (
                int.from_bytes(rows[row][2:4], "big")
                if group.family == 4
                else int.from_bytes(rows[row][4:6], "big") + 20
            )
            if said < 40:
                continue  # by its own length it ends before its header does: offloading leaves such lengths, so columns read on
            read = parse(rows[row], 0, "eth0", int(kinds[row]), 1.0)
            assert read is not None, "columns read what is no packet"
            assert (read.family, read.protocol) == (group.family, group.protocol)
            assert (read.source, read.destination) == (
                group.text(group.source[place]),
                group.text(group.destination[place]),
            )
            assert (read.sport, read.dport) == (int(group.sport[place]), int(group.dport[place]))
            assert (read.ttl, read.dscp) == (int(group.ttl[place]), int(group.dscp[place]))
            assert bool(group.opens[place]) or group.protocol == TCP, "every datagram opens something"
            if group.protocol == TCP:
                assert (read.seq, read.ack, read.flags) == (
                    int(group.seq[place]),
                    int(group.ack[place]),
                    int(group.flags[place]),
                )
                assert bool(group.opens[place]) == (read.is_syn and not read.flags & 4)
        group.take(group.outgoing), group.take(group.to_host), group.carries(bytes(8)), group.mss, group.header


def _batches() -> list[bytes]:
    frames = [bytes((len(frame),)) + frame for frame in _frames()]
    udp = [
        bytes((33,)) + b"\x45\0\0\x38" + bytes(4) + b"\x40\x11" + SYN[10:33],
        bytes((28,)) + SYN[:9] + b"\x11" + SYN[10:28],
    ]
    return [
        *frames,
        *udp,
        b"".join(frames[:6]),
        frames[0][:30],
        b"\0",
        bytes((80, 0x46)) + SYN[1:20] + b"\1\1\1\1" + SYN[20:] + bytes(20),
    ]


def kept(data: bytes) -> None:
    """`explain`'s header fields and the export, of the bytes that an agent says it captured."""
    found = headers(data)
    assert found["said"]
    assert found["said"].isprintable()
    for name in ("source_port", "destination_port"):
        assert found[name] is None or 0 <= found[name] <= 65535
    assert found["payload"] is None or len(found["payload"]) <= 16
    body = {
        "agent": "a",
        "interface": "eth0",
        "side": "source",
        "time": "2026-11-23T12:04:07.123456Z",
        "data": data.hex(),
        "what": "sent",
        "comment": "c",
        **found,
    }
    written = pcapng([{"packets": [body]}], "about", "segwatch")
    assert data in written
    at = 0
    while at < len(written):
        (length,) = struct.unpack_from("<I", written, at + 4)
        assert length % 4 == 0
        assert struct.unpack_from("<I", written, at + length - 4)[0] == length, "a block's length stands at both ends"
        if struct.unpack_from("<I", written, at)[0] == 6:
            captured, whole = struct.unpack_from("<II", written, at + 20)
            assert captured == len(data) <= whole, "more was captured than there was"
        at += length


def _packets() -> list[bytes]:
    frames = _frames()
    return [
        *frames,
        b"",
        SYN[:9],
        SYN[:30],
        SYN[:9] + b"\x2f" + SYN[10:],
        bytes.fromhex("45") + bytes(8) + bytes((ICMP,)) + bytes(10) + b"\x05\x00",
        SYN[:20] + SYN[20:32] + b"\xf0\x00" + SYN[34:] + bytes.fromhex("01080a00000001000000020000"),
    ]


TARGETS = (
    Target(
        "packet", packet, _captured, {"probes/packets/parse.py": ("parse", "_ipv4", "_ipv6", "_transport", "_tcp", "_options", "_icmp"), "probes/source/cell.py": ("verify", "quotes")},
        (
            Fault("probes.packets.parse:_options", "        if length < 2 or at + length > len(options):", "        if at + length > len(options):"),
            Fault("probes.packets.parse:_ipv4", ' or struct.unpack_from("!H", data, 6)[0] & 0x1FFF', ""),
            Fault("probes.packets.parse:_transport", "data[8 : 8 + PAYLOAD])\n        return packet\n    if", "data[8:])\n        return packet\n    if"),
            Fault("probes.packets.parse:_icmp", " and depth == 0", ""),
            Fault("probes.packets.parse:parse", "    except (struct.error, IndexError, ValueError):\n        return None\n    return None", "    except ValueError:\n        return None\n    return None"),
        ),
        share=40,
    ),
    Target(
        "columns", columns, _batches, {"probes/packets/columns.py": ("split", "Columns.opens", "Columns.carries", "Columns._field", "Columns._address", "Columns._at")},
        (
            Fault("probes.packets.columns:split", "(length >= header + least)", "(length >= header)"),
            Fault("probes.packets.columns:split", "(data[:, 0] == 0x45)", "(data[:, 0] >> 4 == 4)"),
        ),
        share=4,
    ),
    Target(
        "kept", kept, _packets, {"coordinator/packets/headers.py": (), "coordinator/packets/pcapng.py": ("block", "_packet")},
        (
            Fault("coordinator.packets.headers:_tcp", "        if length < 1 or (kind != 1 and length < 2):", "        if length < 0:"),
            Fault("coordinator.packets.headers:headers", "    except (struct.error, IndexError, ValueError):", "    except ValueError:"),
            Fault("coordinator.packets.pcapng:_packet", 'max(len(data), packet["length"])', 'packet["length"]'),
        ),
        share=30,
    ),
)  # fmt: skip
