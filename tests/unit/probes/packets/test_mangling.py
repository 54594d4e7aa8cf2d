"""What middleboxes did to our packets: the same, whether they are read one by one or in columns."""

from __future__ import annotations

import numpy as np
import pytest

from probes.packets.mangling import ALTERED, Look, as_code, look, looks, of_code
from probes.packets.parse import IPV4, IPV6, PACKET_HOST, parse
from probes.packets.retained import Kept
from probes.packets.token import token
from probes.witness.sweep_arrivals import SweepArrivals
from reachability.vocabulary import Altered, Protocol
from tests.support.sweep_frames import ENDS, FAMILIES, KEY, columns_of, copies, target

PORT = 80


def changed(family: int, protocol: Protocol, how: str) -> bytes:
    """Copy 3 of a packet to the port, as it arrives."""
    [frame] = copies(family, protocol, [PORT], 3)
    data, at = bytearray(frame), 20 if family == 4 else 40
    match how:
        case "dscp":
            data[1] = 10 << 2 if family == 4 else (10 << 2 & 15) << 4
            data[0] |= 0 if family == 4 else 10 >> 2
        case "mss":
            data[at + 22 : at + 24] = (1380).to_bytes(2)
        case "sequence":
            data[at + 4] ^= 0xFF
        case "timestamp":
            data[at + 28] ^= 0xFF
    return bytes(data)


CHANGES = [
    *((Protocol.TCP, how) for how in ("", "dscp", "mss", "sequence", "timestamp")),
    *((Protocol.UDP, how) for how in ("", "dscp")),
]


@FAMILIES
@pytest.mark.parametrize(("protocol", "how"), CHANGES)
def test_one_by_one_and_in_columns(family: int, protocol: Protocol, how: str) -> None:
    frame, tok = changed(family, protocol, how), token(KEY, ENDS[family][1], protocol, PORT, 3)
    packet = parse(frame, PACKET_HOST, "eth0", IPV4 if family == 4 else IPV6, 1.0)
    assert packet is not None
    sent = {Protocol.UDP: 0, Protocol.TCP: 1460 if family == 4 else 1440}[protocol]
    wanted = Look(
        dscp=10 if how == "dscp" else 0,
        mss=1380 if how == "mss" else sent,
        altered=Altered(how) if how in ALTERED else Altered.NOTHING,
    )
    assert look(packet, tok) == wanted
    [code], [mss] = looks(columns_of(family, [frame]), np.frombuffer(tok, np.uint8).reshape(1, 8))
    assert of_code(int(code), int(mss)) == wanted
    assert as_code(wanted) == (int(code), int(mss))
    sweep = SweepArrivals(target(family, protocol), KEY, Kept(0.0))
    sweep.take(columns_of(family, [frame]))
    [row] = sweep.rows()
    assert (row.dscp, row.mss, row.altered) == (wanted.dscp, wanted.mss, wanted.altered)
