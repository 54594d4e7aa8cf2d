"""The token: what makes a packet of a round known to those who hold the round's key, and to nobody else."""

from __future__ import annotations

import hmac
import struct
from functools import lru_cache
from ipaddress import ip_address

from probes.packets.parse import ICMP, TCP, UDP
from reachability.ports import PortSet
from reachability.vocabulary import Protocol

TOKEN = 8
CELL_COPIES = 64  # copies 0..63 are a cell's; 64..127 are its use as a control, a canary, or the kernel's own way
CONTROL_COPIES = 40  # controls take 64..103, over and over
KERNEL_COPY = 104
CANARY_COPIES = 8  # before 112..119, after 120..127
CANARY_BEFORE, CANARY_AFTER = 112, 120
ALL_COPIES = 128
CONNECT_COPIES = 6  # of a sweep by connect
KERNEL_PORTS = range(32768, 61000)  # what Linux takes for its own outgoing connections
_NUMBERS = {Protocol.TCP: TCP, Protocol.UDP: UDP, Protocol.ICMP: ICMP}


def token(key: bytes, address: str, protocol: Protocol, port: int, copy: int) -> bytes:
    """Eight bytes: of the HMAC-SHA256 over destination address, protocol, port (0 for ICMP) and copy.

    For TCP the first four are the sequence number, the others the timestamp value. The source is not in it: NAT
    changes that. Four ports share a digest, a quarter each.
    """
    at = (port & 3) * TOKEN
    return _digest(key, address, protocol, port >> 2, copy)[at : at + TOKEN]


def tokens(key: bytes, address: str, protocol: Protocol, copy: int, ports: PortSet) -> bytes:
    """The tokens of many ports, in rising order."""
    parts = []
    for low, high in ports.ranges:
        text = b"".join(_digest(key, address, protocol, four, copy) for four in range(low >> 2, (high >> 2) + 1))
        skip = (low & 3) * TOKEN
        parts.append(text[skip : skip + (high - low + 1) * TOKEN])
    return b"".join(parts)


def _digest(key: bytes, address: str, protocol: Protocol, four: int, copy: int) -> bytes:
    return _mac(key, packed(address) + struct.pack("!BHH", _NUMBERS[protocol], four, copy))


def _mac(key: bytes, text: bytes) -> bytes:
    """As `hmac.digest`, which lets go of the interpreter each time: beside a thread that sends, that takes seconds."""
    mac = _keyed(key).copy()
    mac.update(text)
    return mac.digest()


@lru_cache(64)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def tcp_fields(tok: bytes) -> tuple[int, int]:
    """Sequence number and timestamp value."""
    return struct.unpack("!II", tok)


def kernel_ports(key: bytes, address: str, protocol: Protocol, port: int) -> tuple[int, ...]:
    """Eight source ports that the kernel's own way to a cell takes first: its packets have no room for a token.

    They keep two rounds' packets apart at a witness that holds both keys; nothing is proven by them.
    """
    text = b"kernel" + packed(address) + struct.pack("!BH", _NUMBERS[protocol], port)
    words = struct.unpack("!8H", _mac(key, text)[:16])
    return tuple(KERNEL_PORTS[word % len(KERNEL_PORTS)] for word in words)


def connect_ports(key: bytes, copy: int, within: tuple[int, int]) -> tuple[int, ...]:
    """Four source ports of which a copy of a sweep by connect takes the first that is free, for all of its cells.

    As with `kernel_ports` nothing is proven by them alone: the source reports the one that it took.
    """
    low, high = within
    words = struct.unpack("!4H", _mac(key, struct.pack("!7sBH", b"connect", copy, low))[:8])
    return tuple(low + word % (high - low + 1) for word in words)


def inside_key(key: bytes) -> bytes:
    """The key of the round's inside controls, so that a witness never takes their packets for the source's."""
    return hmac.digest(key, b"inside", "sha256")[:16]


def echo_request(key: bytes, address: str, port: int, round_id: str, copy: int) -> bytes:
    """What the coordinator's UDP echo is asked."""
    return token(key, address, Protocol.UDP, port, copy) + round_id.encode()


def echo_reply(key: bytes, request: bytes) -> bytes:
    """What it answers."""
    return hmac.digest(key, b"echo" + request, "sha256")[:16]


@lru_cache(maxsize=4096)
def packed(address: str) -> bytes:
    """The address in network order."""
    return ip_address(address).packed
