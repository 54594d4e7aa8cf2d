"""A relay between two links of the lab: delays frames, lets some overtake others, and sends some twice.

`relay.py plain eth0` makes an interface send whole packets with their checksums, as a relay has to be given them.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

SECONDS = 600.0
LEAST_S, SPREAD_S = 0.002, 0.02
LATE_S, LATE, TWICE = 0.15, 0.01, 0.02  # some are much later, some come twice
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCETHTOOL = 0x8946
OFFLOADS = (0x17, 0x1F, 0x24)  # linux/ethtool.h: ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO


def main(names: list[str]) -> None:
    """Carry frames both ways, for ten minutes at most."""
    ends = []
    for name in names:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        end.bind((name, ETH_P_ALL))
        end.setblocking(False)
        ends.append(end)
    rng = random.Random(0)
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.5
        for end in select.select(ends, [], [], pause)[0]:
            far = 1 - ends.index(end)
            for _ in range(64):
                try:
                    data, address = end.recvfrom(65536)
                except BlockingIOError:
                    break
                if address[2] == PACKET_OUTGOING:
                    continue
                for _ in range(2 if rng.random() < TWICE else 1):
                    late = LATE_S if rng.random() < LATE else 0.0
                    number += 1
                    due = time.monotonic() + LEAST_S + rng.random() * SPREAD_S + late
                    heapq.heappush(waiting, (due, number, far, data))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, far, data = heapq.heappop(waiting)
            try:
                ends[far].send(data)
            except OSError:  # the queue is full: the frame is lost, as on any link
                continue


def plain(name: str) -> None:
    """Nothing is left to the card."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for command in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            fcntl.ioctl(asked, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(value)))


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2])
    else:
        main(sys.argv[1:])
