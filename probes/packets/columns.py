"""The header fields of many captured packets at once, as numpy columns: plain IPv4 and IPv6 with TCP or UDP, nothing else.

Packets with IP options, extension headers or as fragments are left to `probes.packets.parse`.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.packets.parse import ACK, IPV4, IPV6, PACKET_HOST, PACKET_OUTGOING, RST, SYN, TCP, UDP
from probes.packets.rx_ring import Batch

V4_HEADER, V6_HEADER = 20, 40
LEAST = {TCP: 20, UDP: 8}
OUR_HEADER, MSS, TIMESTAMP = 40, 22, 28  # length of our SYN's TCP header, and where its MSS and timestamp value are


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one family and protocol. `rows` are their places in the batch; `data` starts at the transport header."""

    batch: Batch
    rows: NDArray[np.intp]
    family: int
    protocol: int

    @property
    def at(self) -> NDArray[np.float64]:
        """When each was captured, in monotonic seconds."""
        return np.asarray(self.batch.at[self.rows])

    @property
    def outgoing(self) -> NDArray[np.bool_]:
        """Which this host sent."""
        return np.asarray(self.batch.pkttype[self.rows] == PACKET_OUTGOING)

    @property
    def to_host(self) -> NDArray[np.bool_]:
        """Which came in to this host's link address."""
        return np.asarray(self.batch.pkttype[self.rows] == PACKET_HOST)

    @property
    def source(self) -> NDArray[np.void]:
        """Source addresses in network order."""
        return self._address(12 if self.family == 4 else 8)  # noqa: PLR2004

    @property
    def destination(self) -> NDArray[np.void]:
        """Destination addresses in network order."""
        return self._address(16 if self.family == 4 else 24)  # noqa: PLR2004

    @property
    def ttl(self) -> NDArray[np.uint8]:
        """TTL or hop limit."""
        return np.asarray(self.batch.data[self.rows, 8 if self.family == 4 else 7])  # noqa: PLR2004

    @property
    def dscp(self) -> NDArray[np.uint8]:
        """The upper six bits of TOS or traffic class."""
        first, second = self.batch.data[self.rows, 0], self.batch.data[self.rows, 1]
        return np.asarray(second >> 2 if self.family == 4 else (first & 15) << 2 | second >> 6)  # noqa: PLR2004

    @property
    def mss(self) -> NDArray[np.uint16]:
        """What a SYN with our layout has as its MSS."""
        return self._field(MSS, ">u2")

    @property
    def sport(self) -> NDArray[np.uint16]:
        """Source ports."""
        return self._field(0, ">u2")

    @property
    def dport(self) -> NDArray[np.uint16]:
        """Destination ports."""
        return self._field(2, ">u2")

    @property
    def seq(self) -> NDArray[np.uint32]:
        """TCP sequence numbers."""
        return self._field(4, ">u4")

    @property
    def ack(self) -> NDArray[np.uint32]:
        """TCP acknowledgement numbers."""
        return self._field(8, ">u4")

    @property
    def flags(self) -> NDArray[np.uint8]:
        """TCP flags."""
        return np.asarray(self.batch.data[self.rows, self._at + 13])

    @property
    def opens(self) -> NDArray[np.bool_]:
        """Which open something: SYN alone, or any datagram."""
        if self.protocol == UDP:
            return np.ones(len(self.rows), bool)
        return np.asarray((self.flags & (SYN | ACK | RST)) == SYN)

    @property
    def interface(self) -> NDArray[np.int32]:
        """By which interface: its index."""
        return self.batch.interface[self.rows]

    @property
    def header(self) -> NDArray[np.uint8]:
        """Length of the TCP header."""
        return np.asarray((self.batch.data[self.rows, self._at + 12] >> 4) * 4)

    def bytes_at(self, at: int, size: int) -> NDArray[np.void]:
        """Bytes from the transport header's start, one value a row; what is behind the packet's end is not defined."""
        start = self._at + at
        return np.ascontiguousarray(self.batch.data[self.rows, start : start + size]).view(f"V{size}")[:, 0]

    def carries(self, token: bytes) -> bool:
        """Whether the first row is a SYN or datagram with this token where ours have it."""
        if self.protocol == UDP:
            return bool(self.bytes_at(8, 8)[0].tobytes() == token)
        stamped = self.header[0] == OUR_HEADER and self.bytes_at(TIMESTAMP, 4)[0].tobytes() == token[4:]
        return bool(self.bytes_at(4, 4)[0].tobytes() == token[:4] or stamped)

    def text(self, address: np.void) -> str:
        """An address of `source` or `destination` as text."""
        return socket.inet_ntop(socket.AF_INET if self.family == 4 else socket.AF_INET6, address.tobytes())  # noqa: PLR2004

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Columns:
        """Some of the rows."""
        return Columns(self.batch, self.rows[which], self.family, self.protocol)

    @property
    def _at(self) -> int:
        return V4_HEADER if self.family == 4 else V6_HEADER  # noqa: PLR2004

    def _field(self, at: int, kind: str) -> NDArray[Any]:
        start, size = self._at + at, np.dtype(kind).itemsize
        raw = np.ascontiguousarray(self.batch.data[self.rows, start : start + size])
        return np.asarray(raw.view(kind)[:, 0].astype(kind[1:]))

    def _address(self, at: int) -> NDArray[np.void]:
        size = 4 if self.family == 4 else 16  # noqa: PLR2004
        return np.ascontiguousarray(self.batch.data[self.rows, at : at + size]).view(f"V{size}")[:, 0]


def split(batch: Batch) -> list[Columns]:
    """The plain TCP and UDP packets of a batch, by family and protocol; groups without a packet are left out."""
    data, length = batch.data, batch.length
    four = (batch.ethertype == IPV4) & (data[:, 0] == 0x45) & ((data[:, 6] & 0x3F) | data[:, 7] == 0)  # noqa: PLR2004
    six = (batch.ethertype == IPV6) & (data[:, 0] >> 4 == 6)  # noqa: PLR2004
    found = []
    for family, mask, number, header in ((4, four, data[:, 9], V4_HEADER), (6, six, data[:, 6], V6_HEADER)):
        if not mask.any():
            continue
        for protocol, least in LEAST.items():
            rows = np.flatnonzero(mask & (number == protocol) & (length >= header + least))
            if len(rows):
                found.append(Columns(batch, rows, family, protocol))
    return found


def packed(address: str) -> Any:
    """An address as `Columns.source` has it."""
    raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return np.frombuffer(raw, f"V{len(raw)}")[0]
