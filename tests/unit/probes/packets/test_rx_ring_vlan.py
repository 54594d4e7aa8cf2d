"""Frames with a VLAN tag, as a ring of this kernel held them: SYN and datagram of a copy, in both families, without a tag and with 5.

Recorded on a veth pair: `tpacket2_hdr`, `sockaddr_ll` and packet of each; the status says where the kernel has taken a tag off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.packets.columns import split
from probes.packets.parse import TCP, UDP
from probes.packets.rx_ring import SLOT, Slots
from probes.packets.token import token
from reachability.vocabulary import Protocol

KEY = bytes(range(16))
TAKEN_OFF, TAG = 0x10, 12  # TP_STATUS_VLAN_VALID; where `tp_vlan_tci` is, in halves of words
ENDS = {4: ("10.10.0.10", "10.30.0.10"), 6: ("fd00:10::10", "fd00:30::10")}
LINES = (Path(__file__).with_name("vlan_slots.hex")).read_text("ascii").split()


def slots() -> Slots:
    memory = np.zeros((len(LINES), SLOT), np.uint8)
    for row, line in zip(memory, LINES, strict=True):
        data = bytes.fromhex(line)
        row[: len(data)] = np.frombuffer(data, np.uint8)
    tags = memory.view(np.uint16)[:, TAG].tolist()
    assert tags == [0, 5] * 4
    assert ((memory.view(np.uint32)[:, 0] & TAKEN_OFF) != 0).tolist() == [False, True] * 4
    return Slots(memory.reshape(-1))


@pytest.mark.parametrize(("number", "protocol"), [(TCP, Protocol.TCP), (UDP, Protocol.UDP)])
@pytest.mark.parametrize("family", [4, 6])
def test_a_tagged_frame_reads_as_the_same_without_its_tag(family: int, number: int, protocol: Protocol) -> None:
    batch = slots().batch(slice(None), 100.0, 1e9)
    [columns] = [c for c in split(batch) if (c.family, c.protocol) == (family, number)]
    source, destination = ENDS[family]
    wanted = token(KEY, destination, protocol, 443, 1)
    for n in range(2):  # without, and with the tag
        row = columns.take(np.array([n]))
        assert row.carries(wanted)
        assert row.to_host.all()
        assert row.opens.all()
        assert (row.text(row.source[0]), row.text(row.destination[0])) == (source, destination)
        assert (row.sport[0], row.dport[0]) == (40000, 443)
    plain, tagged = (batch.packet(int(row)) for row in columns.rows)
    assert plain is not None
    assert tagged is not None
    assert plain.destination == tagged.destination == destination
    assert plain.dport == tagged.dport == 443
