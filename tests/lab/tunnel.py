"""One end of a point-to-point link of the lab: `tunnel.py tun0 OWN FAR` carries its packets over UDP, for ten minutes at most."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import time

SECONDS = 600.0
PORT = 5999
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
MANY = 64  # in a row from one side


def main(name: str, own: str, far: str) -> None:
    """Carry packets both ways."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    wire.bind((own, PORT))
    wire.connect((far, PORT))
    wire.setblocking(False)
    far_end, until = wire.fileno(), time.monotonic() + SECONDS
    while time.monotonic() < until:
        ready = select.select([device, far_end], [], [], 1.0)[0]
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(MANY if device in ready else 0):
                wire.send(os.read(device, 65536))
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(MANY if far_end in ready else 0):
                os.write(device, wire.recv(65536))


if __name__ == "__main__":
    main(*sys.argv[1:])
