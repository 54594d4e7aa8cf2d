"""The capture: one packet socket over all interfaces that sees what comes in and what goes out, layer 3 up."""

from __future__ import annotations

import ctypes
import socket
import struct
import time

from probes.packet import IPV4, IPV6, Packet, parse

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
RECEIVE_BUFFER = 16 * 1024 * 1024
BATCH = 256
SNAP = 256

# Classic BPF on layer 3: IPv4 and IPv6 with UDP, ICMP, or TCP that opens or resets; bulk traffic never reaches us.
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
    ("", _JEQ, 6, "", "drop"),
    ("", _LDH, 6, "", ""),
    ("", _JSET, _FRAGMENT, "drop", ""),
    ("", _LDX_HEADER, 0, "", ""),
    ("", _LDB_X, 13, "", ""),
    ("", _JSET, _SYN_OR_RST, "accept", "drop"),
    ("v6", _LDB, 6, "", ""),
    ("", _JEQ, 17, "accept", ""),
    ("", _JEQ, 58, "accept", ""),
    ("", _JEQ, 6, "", "drop"),
    ("", _LDB, 53, "", ""),
    ("", _JSET, _SYN_OR_RST, "accept", "drop"),
    ("accept", _RET, SNAP, "", ""),
    ("drop", _RET, 0, "", ""),
)


class Capture:
    """Reads packets of this network namespace. Needs CAP_NET_RAW; PermissionError without it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        program = _assemble()
        self._keep = ctypes.create_string_buffer(program)
        fprog = struct.pack("HxxxxxxP", len(_PROGRAM), ctypes.addressof(self._keep))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # asks for CAP_NET_ADMIN; the ordinary bound has to do
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.setblocking(False)
        while self.read():  # what came in before the filter was there
            pass
        self.drops()

    def read(self) -> list[Packet]:
        """What has come in, at most a batch; empty when there is nothing."""
        packets = []
        for _ in range(BATCH):
            try:
                data, (interface, ethertype, pkttype, *_rest) = self.socket.recvfrom(SNAP)
            except BlockingIOError:
                break
            except OSError:  # an interface went down: the socket goes on with the others
                continue
            packet = parse(data, pkttype, interface, ethertype, time.monotonic())
            if packet is not None:
                packets.append(packet)
        return packets

    def drops(self) -> int:
        """Packets that the kernel could not hand over since the last call (reading it resets the counter)."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(dropped)

    def close(self) -> None:
        """Stop capturing."""
        self.socket.close()


def _assemble() -> bytes:
    place = {label: index for index, (label, *_) in enumerate(_PROGRAM) if label}
    code = b""
    for index, (_, operation, operand, if_true, if_false) in enumerate(_PROGRAM):
        jumps = [place[label] - index - 1 if label else 0 for label in (if_true, if_false)]
        code += struct.pack("HBBI", operation, *jumps, operand)
    return code
