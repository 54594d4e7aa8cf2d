"""How our packets look where they arrive, so that middleboxes show: DSCP, MSS, and which half of a TCP token was rewritten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.packets.columns import OUR_HEADER, TIMESTAMP, Columns
from probes.packets.parse import TCP, Packet
from probes.packets.token import tcp_fields
from reachability.vocabulary import Altered

ALTERED = tuple(Altered)
_SEQUENCE, _STAMP = ALTERED.index(Altered.SEQUENCE), ALTERED.index(Altered.TIMESTAMP)


@dataclass(frozen=True, slots=True)
class Look:
    """`mss` 0: none, or not where ours has it. `altered`: the field that does not hold the token any more."""

    dscp: int = 0
    mss: int = 0
    altered: Altered = Altered.NOTHING


def look(packet: Packet, token: bytes) -> Look:
    """Of one packet that carries the token."""
    altered = 0
    if packet.protocol == TCP:
        sequence, stamp = tcp_fields(token)
        altered = _SEQUENCE if packet.seq != sequence else _STAMP if packet.ts_val != stamp else 0
    return Look(packet.dscp, packet.mss, ALTERED[altered])


def looks(columns: Columns, tokens: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Of many packets, as DSCP and place in `ALTERED` in one byte, and MSS; `tokens` has eight bytes a row."""
    code = (columns.dscp << 2).astype(np.uint8)
    if columns.protocol != TCP:
        return code, np.zeros(len(code), np.uint16)
    ours = columns.header == OUR_HEADER
    sequence = columns.bytes_at(4, 4) == np.ascontiguousarray(tokens[:, :4]).view("V4")[:, 0]
    stamp = (columns.bytes_at(TIMESTAMP, 4) == np.ascontiguousarray(tokens[:, 4:]).view("V4")[:, 0]) & ours
    code |= np.where(sequence, np.where(stamp, 0, _STAMP), _SEQUENCE).astype(np.uint8)
    return code, np.where(ours, columns.mss, 0).astype(np.uint16)


def as_code(one: Look) -> tuple[int, int]:
    """As `looks` has it."""
    return one.dscp << 2 | ALTERED.index(one.altered), one.mss


def of_code(code: int, mss: int) -> Look:
    """The other way round."""
    return Look(code >> 2, mss, ALTERED[code & 3])
