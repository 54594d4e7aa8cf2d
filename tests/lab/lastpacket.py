"""`python lastpacket.py SOURCE DESTINATION FILE`: how many IPv4 packets passed here between the two, and when the last one did.

By the kernel's timestamps; to FILE as "COUNT EPOCH_SECONDS", on SIGTERM.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from pathlib import Path

SO_TIMESTAMPNS = 35
ETH_P_IP = 0x0800


def main(source: str, destination: str, file: str) -> None:
    wanted = socket.inet_aton(source) + socket.inet_aton(destination)
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    capture.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    count, last = 0, 0.0

    def end(*_: object) -> None:
        Path(file).write_text(f"{count} {last:.6f}", "ascii")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        data, notes, _, _ = capture.recvmsg(64, 64)
        if data[12:20] == wanted:
            seconds, nanoseconds = struct.unpack("=qq", notes[0][2])
            count, last = count + 1, seconds + nanoseconds / 1e9


if __name__ == "__main__":
    main(*sys.argv[1:])
