"""Writes exchanges as a pcapng file (draft-ietf-opsawg-pcapng): an interface for each agent's, a comment on each packet.

No library is used for it: the one for Python that writes comments and interface names has had no release since 2022.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Body = Mapping[str, Any]  # as `explain` has them

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
MAGIC, LINKTYPE_RAW = 0x1A2B3C4D, 101  # packets begin with their IP header
SNAP = 65535
END, COMMENT = 0, 1
APPLICATION = 4  # of a section
NAME, DESCRIPTION, RESOLUTION = 2, 3, 9  # of an interface
FLAGS, INBOUND, OUTBOUND = 2, 1, 2  # of a packet
MICROSECONDS = b"\x06"
MOST_OPTION = 65535
_OUT = {"sent", "answered"}

Options = Sequence[tuple[int, bytes]]


def pcapng(exchanges: Sequence[Body], about: str, application: str) -> bytes:
    """The whole file. `about` is the comment on all of it, `application` who wrote it."""
    packets = [packet for exchange in exchanges for packet in exchange["packets"]]
    roles = dict.fromkeys((packet["agent"], packet["interface"], packet["side"]) for packet in packets)
    interfaces = list(dict.fromkeys((agent, interface) for agent, interface, _ in roles))
    parts = [_section(about, application)]
    for agent, interface in interfaces:
        sides = " and ".join(side for name, device, side in roles if (name, device) == (agent, interface))
        parts.append(_interface(f"{agent}:{interface}", f"{interface} of {agent}, the {sides}"))
    parts += [
        _packet(packet, interfaces.index((packet["agent"], packet["interface"])))
        for packet in sorted(packets, key=lambda packet: str(packet["time"]))
    ]
    return b"".join(parts)


def block(kind: int, body: bytes) -> bytes:
    """A block: its type, its length, its body filled up to four bytes, and its length again."""
    length = 12 + len(body) + -len(body) % 4
    return struct.pack("<II", kind, length) + body + bytes(-len(body) % 4) + struct.pack("<I", length)


def options(found: Options) -> bytes:
    """A list of options with its end; what is longer than an option can be is cut."""
    if not found:
        return b""
    parts = []
    for code, value in (*found, (END, b"")):
        kept = value[:MOST_OPTION]
        parts.append(struct.pack("<HH", code, len(kept)) + kept + bytes(-len(kept) % 4))
    return b"".join(parts)


def _section(about: str, application: str) -> bytes:
    head = struct.pack("<IHHq", MAGIC, 1, 0, -1)  # version 1.0, of a length that is not said
    return block(SECTION, head + options([(COMMENT, about.encode()), (APPLICATION, application.encode())]))


def _interface(name: str, description: str) -> bytes:
    told = [(NAME, name.encode()), (DESCRIPTION, description.encode()), (RESOLUTION, MICROSECONDS)]
    return block(INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, SNAP) + options(told))


def _packet(packet: Body, interface: int) -> bytes:
    data = bytes.fromhex(packet["data"])
    at = microseconds(packet["time"])
    whole = max(len(data), packet["length"])
    head = struct.pack("<IIIII", interface, at >> 32, at & 0xFFFFFFFF, len(data), whole)
    flags = struct.pack("<I", OUTBOUND if packet["what"] in _OUT else INBOUND)
    told = [(COMMENT, packet["comment"].encode()), (FLAGS, flags)]
    return block(PACKET, head + data + bytes(-len(data) % 4) + options(told))


def microseconds(time: str) -> int:
    """An API's time as microseconds since the epoch, exactly; what comes before it is put at it, for the format has no sign."""
    at = datetime.fromisoformat(time)
    return max(0, int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond)


def agents(exchanges: Iterable[Body]) -> list[str]:
    """Whose packets they are."""
    return list(dict.fromkeys(packet["agent"] for exchange in exchanges for packet in exchange["packets"]))
