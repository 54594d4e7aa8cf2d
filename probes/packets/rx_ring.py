"""The capture: one packet ring over all interfaces that sees what comes in and what goes out, layer 3 up.

The ring (TPACKET_V2, `Documentation/networking/packet_mmap.rst`) has slots of one size, so that what came in is a matrix of
bytes: sweeps read it in columns, all else becomes a `Packet` each.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.clock import ahead
from probes.packets.parse import AH, ESP, EXTENSIONS, IPV4, IPV6, Packet, parse

ETH_P_ALL = 3
SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, TPACKET_V2 = 263, 5, 6, 10, 1
SO_ATTACH_FILTER = 26
SLOT, SLOTS, BLOCK = 256, 32768, 1 << 17
LAYER3 = 80  # where the packet starts in its slot: TPACKET_ALIGN(TPACKET2_HDRLEN) + 16
SNAP = SLOT - LAYER3
BATCH = 4096
TP_STATUS_USER = 1
JUMP_S = 0.001
OLDEST_S = 5.0  # a packet that was read, where nothing shows that it may have waited for longer

# Classic BPF on layer 3: IPv4 and IPv6 with UDP, ICMP, IPsec, extension headers, or TCP that opens or resets; bulk traffic
# never reaches us.
# (label, operation, operand, label if true, label if false); a label that is "" means the next instruction.
_LDH, _LDB, _LDX_HEADER, _LDB_X, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x50, 0x15, 0x45, 0x06
_SYN_OR_RST, _FRAGMENT = 0x06, 0x1FFF
_PROGRAM = (
    ("", _LDH, 0xFFFFF000, "", ""),  # SKF_AD_OFF + SKF_AD_PROTOCOL: the ethertype
    ("", _JEQ, IPV4, "v4", ""),
    ("", _JEQ, IPV6, "v6", "drop"),
    ("v4", _LDB, 9, "", ""),
    ("", _JEQ, 17, "accept", ""),
    ("", _JEQ, 1, "accept", ""),
    ("", _JEQ, ESP, "accept", ""),
    ("", _JEQ, AH, "accept", ""),
    ("", _JEQ, 6, "", "drop"),
    ("", _LDH, 6, "", ""),
    ("", _JSET, _FRAGMENT, "drop", ""),
    ("", _LDX_HEADER, 0, "", ""),
    ("", _LDB_X, 13, "", ""),
    ("", _JSET, _SYN_OR_RST, "accept", "drop"),
    ("v6", _LDB, 6, "", ""),
    ("", _JEQ, 17, "accept", ""),
    ("", _JEQ, 58, "accept", ""),
    *(("", _JEQ, number, "accept", "") for number in (*EXTENSIONS, ESP)),  # of what is behind them, `parse` decides
    ("", _JEQ, 6, "", "drop"),
    ("", _LDB, 53, "", ""),
    ("", _JSET, _SYN_OR_RST, "accept", "drop"),
    ("accept", _RET, 0xFFFF, "", ""),
    ("drop", _RET, 0, "", ""),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packets as the ring holds them: one row each. Good until the next read.

    `data` is layer 3 up, (n, 176) bytes, of which `length` hold; `at` is monotonic seconds; `ethertype` is in host order.
    """

    data: NDArray[np.uint8]
    length: NDArray[np.uint32]
    ethertype: NDArray[np.uint16]
    interface: NDArray[np.int32]
    pkttype: NDArray[np.uint8]
    at: NDArray[np.float64]

    def __len__(self) -> int:
        """How many packets."""
        return len(self.length)

    def packet(self, row: int) -> Packet | None:
        """One of them by itself; None for what is not ours to read."""
        data, name = self.data[row, : self.length[row]].tobytes(), name_of(int(self.interface[row]))
        return parse(data, int(self.pkttype[row]), name, int(self.ethertype[row]), float(self.at[row]))


class Slots:
    """A ring's memory, one slot per packet: `struct tpacket2_hdr`, `struct sockaddr_ll`, the packet from layer 3 up.

    Of a tagged frame the kernel has taken the VLAN tag off: the ethertype is the one behind it, the packet starts where it does
    without a tag, and the tag is in the header, where nothing here depends on it.
    """

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        bytes_ = memory.reshape(-1, SLOT)
        words, halves = bytes_.view(np.uint32), bytes_.view(np.uint16)
        self.status, self._length = words[:, 0], words[:, 2]
        self._time = words[:, 4:6]  # seconds, nanoseconds, of the wall clock
        self._ethertype, self._interface, self._pkttype = halves[:, 17], bytes_.view(np.int32)[:, 9], bytes_[:, 42]
        self._data = bytes_[:, LAYER3:]

    def batch(self, rows: slice, now: float, wall: float, oldest: float = OLDEST_S) -> Batch:
        """Some of them, at most `oldest` seconds old; `now` and `wall` are the monotonic and the wall clock's seconds."""
        taken = self._time[rows, 0] + self._time[rows, 1] * 1e-9
        return Batch(
            data=self._data[rows],
            length=np.minimum(self._length[rows], SNAP),
            ethertype=self._ethertype[rows].byteswap(),
            interface=self._interface[rows],
            pkttype=self._pkttype[rows],
            at=now - np.clip(wall - taken, 0.0, oldest),  # a wall clock that jumps moves nothing far
        )


# Takes a batch; returns which rows it has used up: those become no `Packet`.
Reader = Callable[[Batch], NDArray[np.bool_]]


class Counts(NamedTuple):
    """Packets that a capture saw, and packets that the kernel could not hand over to it."""

    seen: int
    lost: int

    def since(self, before: Counts) -> Counts:
        """What was added to them."""
        return Counts(self.seen - before.seen, self.lost - before.lost)


class Capture:
    """Reads packets of this network namespace. Needs CAP_NET_RAW; PermissionError without it."""

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        program = _assemble()
        self._keep = ctypes.create_string_buffer(program)
        fprog = struct.pack("HxxxxxxP", len(_PROGRAM), ctypes.addressof(self._keep))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        # Making the ring forgets what came in before the filter was there.
        ring = struct.pack("IIII", BLOCK, SLOTS * SLOT // BLOCK, SLOT, SLOTS)
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
        self._map = mmap.mmap(self.socket.fileno(), SLOTS * SLOT)
        self._slots = Slots(np.frombuffer(self._map, np.uint8))
        self._head = self._seen = self._lost = 0
        self._ahead = ahead()
        self._empty = time.monotonic()  # when the ring was last seen to be so
        self.counts()
        self._lost = 0

    def read(self) -> list[Packet] | None:
        """What has come in, at most a batch, without what readers have used up; None when there is nothing."""
        now = time.monotonic()
        run = self._slots.status[self._head : self._head + BATCH] & TP_STATUS_USER
        count = len(run) if run.all() else int(run.argmin())
        if not count:
            self._empty = now
            return None
        rows = slice(self._head, self._head + count)
        now = time.monotonic()
        if (
            abs((found := ahead()) - self._ahead) > JUMP_S
        ):  # otherwise as before, so that what came later has a later time
            self._ahead = found
        batch = self._slots.batch(rows, now, now + self._ahead, max(OLDEST_S, now - self._empty))
        left = np.ones(count, bool)
        for reader in self.readers:
            left &= ~reader(batch)
        packets = [packet for row in np.flatnonzero(left) if (packet := batch.packet(int(row))) is not None]
        self._seen += count
        self._slots.status[rows] = 0
        self._head = (self._head + count) % SLOTS
        return packets

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to read before more is sent."""
        return bool(self._slots.status[(self._head + SLOTS // 2) % SLOTS] & TP_STATUS_USER)

    def counts(self) -> Counts:
        """Both since the start."""
        _, dropped = struct.unpack_from("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self._lost += dropped  # the kernel's counter starts anew when it is read
        return Counts(self._seen, self._lost)

    def close(self) -> None:
        """Stop capturing."""
        self.socket.close()


def name_of(index: int) -> str:
    """An interface's name by its index."""
    try:
        return socket.if_indextoname(index)
    except OSError:  # it is gone
        return f"interface {index}"


def _assemble() -> bytes:
    place = {label: index for index, (label, *_) in enumerate(_PROGRAM) if label}
    code = b""
    for index, (_, operation, operand, if_true, if_false) in enumerate(_PROGRAM):
        jumps = [place[label] - index - 1 if label else 0 for label in (if_true, if_false)]
        code += struct.pack("HBBI", operation, *jumps, operand)
    return code
