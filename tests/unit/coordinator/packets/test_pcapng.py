"""The file that is written is read again: by scapy whole, and block by block whatever the lengths are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from coordinator.packets.pcapng import INTERFACE, MOST_OPTION, PACKET, SECTION, microseconds, options, pcapng

TIME = "2026-11-23T12:04:07.{:06}Z"


def packet(number: int = 0, **more: Any) -> dict[str, Any]:
    data = bytes([0x45, number])
    return {
        "side": "source", "agent": "dev-1", "interface": "eth0", "what": "sent", "time": TIME.format(number),
        "length": len(data), "data": data.hex(), "comment": f"copy {number}", **more,
    }  # fmt: skip


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each; the lengths before and behind have to agree."""
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        yield kind, data[8 : length - 4]
        data = data[length:]


def told(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            assert data == bytes(4), "the end is the end"
            break
        found[code] = data[4 : 4 + length]
        assert not any(data[4 + length : 4 + length + -length % 4]), "what fills up is zero"
        data = data[4 + length + -length % 4 :]
    return found


@given(
    st.lists(
        st.tuples(st.binary(max_size=130), st.text(max_size=30), st.text(max_size=9), st.integers(0, 9000)), max_size=8
    ),
    st.text(max_size=50),
)
def test_every_length_is_filled_up_and_comes_back(rows: list[tuple[bytes, str, str, int]], about: str) -> None:
    packets = [
        packet(number, data=data.hex(), comment=comment, interface=name, length=length)
        for number, (data, comment, name, length) in enumerate(rows)
    ]
    found = list(blocks(pcapng([{"packets": packets}], about, "segwatch 1")))
    names = list(dict.fromkeys(name for _, _, name, _ in rows))
    assert [kind for kind, _ in found] == [SECTION, *[INTERFACE] * len(names), *[PACKET] * len(rows)]
    assert told(found[0][1][16:])[1].decode() == about
    assert [told(body[8:])[2].decode() for kind, body in found if kind == INTERFACE] == [f"dev-1:{n}" for n in names]
    for (data, comment, name, length), (_, body) in zip(rows, found[1 + len(names) :], strict=True):
        interface, _, _, captured, whole = struct.unpack_from("<IIIII", body)
        assert (names[interface], captured, whole) == (name, len(data), max(length, len(data)))
        assert body[20 : 20 + captured] == data
        assert told(body[20 + captured + -captured % 4 :])[1].decode() == comment


def test_another_reader_finds_times_interfaces_comments_and_lengths(tmp_path: Path) -> None:
    sent = packet(1, length=1400)
    arrived = packet(3, side="witness", agent="prod-1", interface="ens3", what="arrived", comment="it arrived: ✓")
    path = tmp_path / "x.pcapng"
    path.write_bytes(pcapng([{"packets": [arrived, sent]}], "a leak", "segwatch 1"))
    with RawPcapNgReader(str(path)) as reader:
        first, second = list(reader)
    assert [data for data, _ in (first, second)] == [b"\x45\x01", b"\x45\x03"], "in the order of time"
    meta = first[1]
    assert ((meta.tshigh << 32) + meta.tslow, meta.tsresol) == (microseconds(sent["time"]), 1_000_000)
    assert (meta.linktype, meta.wirelen, meta.ifname, meta.direction) == (101, 1400, b"dev-1:eth0", 2)
    assert (second[1].ifname, second[1].direction, second[1].comments) == (
        b"prod-1:ens3",
        1,
        ["it arrived: ✓".encode()],
    )


def test_a_comment_that_no_option_holds_is_cut() -> None:
    assert len(told(options([(1, b"x" * 70_000)]))[1]) == MOST_OPTION
    assert options([]) == b""


def test_a_file_without_a_packet_is_still_one() -> None:
    assert [kind for kind, _ in blocks(pcapng([], "", "segwatch 1"))] == [SECTION]


@given(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - the other argument has the zone
def test_no_microsecond_is_lost(at: datetime) -> None:
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert microseconds(text) % 1_000_000 == at.microsecond
    assert microseconds(text) // 1_000_000 == int(at.replace(microsecond=0).timestamp())
