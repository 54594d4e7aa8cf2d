"""Sends whole batches of packets by one way: a PACKET_TX_RING with VNET_HDR on Ethernet, a plain packet socket elsewhere.

The ring is filled by numpy and handed over with one system call a batch. `hdr_len` in the virtio header says that all of a
frame is header: the kernel then copies it whole instead of mapping pages, which routers and bridges handle faster.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import select
import socket
import struct

import numpy as np
from numpy.typing import NDArray

from probes.gate import Gate
from probes.packets.parse import IPV4, IPV6
from probes.packets.route import Route
from reachability.vocabulary import SentBy

SOL_PACKET, PACKET_VERSION, TPACKET_V2, PACKET_TX_RING, PACKET_LOSS, PACKET_VNET_HDR = 263, 10, 1, 13, 14, 15
SLOT, SLOTS, BLOCK = 256, 4096, 1 << 17
HEADER = 32  # TPACKET2_HDRLEN without its address: where a frame starts in its slot
VNET, ETHERNET = 10, 14
MOST_PACKET = SLOT - HEADER - VNET - ETHERNET
TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST = 0, 1
ARPHRD_ETHER = 1
SIOCGIFHWADDR = 0x8927
WAIT_MS = 50
_FULL = {errno.ENOBUFS, errno.EAGAIN}

Frames = NDArray[np.uint8]  # (n, length of the longest), layer 3 up
Lengths = NDArray[np.uint16]


class TxRing:
    """A way out at full speed. Needs CAP_NET_RAW; OSError where the device is not Ethernet or the kernel has no ring."""

    def __init__(self, route: Route, ethertype: int) -> None:
        own = _ethernet_address(route.interface)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self._socket.setsockopt(SOL_PACKET, PACKET_LOSS, 1)  # a frame that is refused does not stop the others
            ring = struct.pack("IIII", BLOCK, SLOTS * SLOT // BLOCK, SLOT, SLOTS)
            self._socket.setsockopt(SOL_PACKET, PACKET_TX_RING, ring)
            self._socket.bind((route.interface, 0))
            self._map = mmap.mmap(self._socket.fileno(), SLOTS * SLOT)
        except OSError:
            self._socket.close()
            raise
        slots = np.frombuffer(self._map, np.uint8).reshape(SLOTS, SLOT)
        words = slots.view(np.uint32)
        self._status, self._length = words[:, 0], words[:, 1]
        slots[:, HEADER : HEADER + VNET] = 0
        self._header_length = slots.view(np.uint16)[:, HEADER // 2 + 1]  # of struct virtio_net_hdr
        start = HEADER + VNET
        head = route.link + own + struct.pack("!H", ethertype)
        slots[:, start : start + ETHERNET] = np.frombuffer(head, np.uint8)
        self._data = slots[:, start + ETHERNET :]
        self._head = 0

    def put(self, frames: Frames, lengths: Lengths) -> int:
        """Send them all, waiting for room; returns how many the kernel took. OSError when the device is gone."""
        if frames.shape[1] > MOST_PACKET:
            raise OSError(errno.EMSGSIZE, f"{frames.shape[1]} bytes do not fit a slot")
        done = 0
        while done < len(frames):
            count = min(len(frames) - done, SLOTS - self._head)
            rows = slice(self._head, self._head + count)
            while self._status[rows].any():
                self._flush()
            now = slice(done, done + count)
            self._data[rows, : frames.shape[1]] = frames[now]
            self._header_length[rows] = lengths[now] + ETHERNET
            self._length[rows] = lengths[now] + (ETHERNET + VNET)
            self._status[rows] = TP_STATUS_SEND_REQUEST
            self._flush()
            self._head = (self._head + count) % SLOTS
            done += count
        return done

    def close(self) -> None:
        """Give the ring back."""
        self._socket.close()

    def _flush(self) -> None:
        try:
            self._socket.send(b"", socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            select.select([], [self._socket], [], WAIT_MS / 1000)


class PlainTx:
    """The same with a system call per packet: devices without Ethernet headers, and what goes to this host itself."""

    def __init__(self, route: Route, ethertype: int) -> None:
        self._local = route.local
        if route.local:
            kind = socket.AF_INET if ethertype == 0x0800 else socket.AF_INET6  # noqa: PLR2004
            self._socket = socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._six = kind == socket.AF_INET6
        else:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self._address = (route.interface, ethertype, 0, 0, route.link)

    def put(self, frames: Frames, lengths: Lengths) -> int:
        """As `TxRing.put`."""
        whole, room = memoryview(frames.tobytes()), frames.shape[1]
        for at, length in zip(range(0, len(whole), room), lengths.tolist(), strict=True):
            data = whole[at : at + length]
            while True:
                try:
                    self._socket.sendto(data, self._to(data) if self._local else self._address)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    select.select([], [self._socket], [], WAIT_MS / 1000)
                else:
                    break
        return len(frames)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _to(self, data: memoryview) -> tuple[str, int]:
        if self._six:
            return socket.inet_ntop(socket.AF_INET6, data[24:40]), 0
        return socket.inet_ntop(socket.AF_INET, data[16:20]), 0


def open_tx(route: Route, ethertype: int) -> TxRing | PlainTx:
    """The fastest way that there is."""
    if route.link and not route.local:
        with contextlib.suppress(OSError):
            return TxRing(route, ethertype)
    return PlainTx(route, ethertype)


Way = tuple[str, int, bytes, bool]


def way_of(route: Route, ethertype: int) -> Way:
    """What two packets have to share to leave together."""
    return route.interface, ethertype, route.link, route.local


class Transmitters:
    """One transmitter for each way, opened when it is first needed."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._open: dict[Way, TxRing | PlainTx] = {}

    def way(self, route: Route) -> SentBy:
        """How packets of a route were sent, as an observation says it: by a ring, or raw."""
        ring = any(isinstance(self._open.get(way_of(route, e)), TxRing) for e in (IPV4, IPV6))
        return SentBy.RING if ring else SentBy.RAW

    def put(self, route: Route, ethertype: int, frames: Frames, lengths: Lengths) -> int:
        """Send frames; how many. OSError when the kernel does not take them, NotAllowed."""
        self._gate.check_packets(frames)
        way = way_of(route, ethertype)
        found = self._open.get(way)
        if found is None:
            found = self._open[way] = open_tx(route, ethertype)
        return found.put(frames, lengths)

    def close(self) -> None:
        """Close them all."""
        for transmitter in self._open.values():
            transmitter.close()
        self._open.clear()


def _ethernet_address(interface: str) -> bytes:
    """OSError when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        answer = fcntl.ioctl(asked.fileno(), SIOCGIFHWADDR, struct.pack("256s", interface.encode()[:15]))
    kind = struct.unpack_from("H", answer, 16)[0]
    if kind != ARPHRD_ETHER:
        raise OSError(errno.EPROTONOSUPPORT, f"{interface} is not Ethernet")
    return answer[18:24]
