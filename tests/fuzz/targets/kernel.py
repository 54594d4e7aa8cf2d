"""What the kernel and a neighbour answer."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from probes.kernel import error_queue
from probes.kernel.error_queue import Refusal
from probes.packets.build import is_at, who_has
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.rows import HERE, THERE


class _Socket:
    """A socket whose error queue holds what the fuzzer put there."""

    def __init__(self, data: bytes) -> None:
        six = bool(data) and bool(data[0] & 1)
        self._queue = (
            [((41, 25) if six else (0, 11), data[1:], None if data[:1] > b"\x7f" else ("fe80::1%eth0", 53))]
            if data
            else []
        )

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int] | None]:
        if not self._queue:
            raise BlockingIOError
        (level, kind), data, about = self._queue.pop()
        return b"", [(0, 1, b"other"), (level, kind, data)], 0, about


def refusal(data: bytes) -> None:
    found = error_queue.next_refusal(_Socket(data))  # type: ignore[arg-type]
    if found is not None:
        assert isinstance(found, Refusal)
        ip_address(found.by)
        assert 0 <= found.port <= 65535
        assert "%" not in found.address


def _errors() -> list[bytes]:
    four = struct.pack("=IBBBxII", 111, 2, 3, 13, 0, 0) + struct.pack("=HH4s8x", 2, 0, bytes((10, 0, 0, 1)))
    six = struct.pack("=IBBBxII", 111, 3, 1, 1, 0, 0) + struct.pack(
        "=HHI16sI", 10, 0, 0, ip_address("fd00::1").packed, 0
    )
    local = struct.pack("=IBBBxII", 90, 1, 0, 0, 1400, 0) + bytes(16)
    return [b"\0" + four, b"\1" + six, b"\x80" + local, b"\0" + four[:18], b"", b"\1" + six[:34]]


def neighbour(data: bytes) -> None:
    """What a neighbour answers to the question for a link address."""
    for hop in (THERE, "fe80::1"):
        found = is_at(data, hop)
        assert found is None or hop == THERE or data[7] == 255, "a router forwarded it"
        assert found is None or 0 < len(found) <= 20, found


def _answers() -> list[bytes]:
    question, _ = who_has(b"\2\0\0\0\0\1", HERE, THERE)
    told = question[:7] + b"\2" + question[8:14] + bytes((10, 30, 0, 21)) + question[18:]
    head = bytes.fromhex("6000000000203aff") + ip_address("fe80::1").packed + ip_address("fe80::2").packed
    advert = head + bytes.fromhex("8800000060000000") + ip_address("fe80::1").packed + bytes.fromhex("0201020000000001")
    return [question, told, told[:20], advert, advert[:60], who_has(b"\2\0\0\0\0\1", "fe80::2", "fe80::1")[0], b""]


TARGETS = (
    Target(
        "refusal", refusal, _errors, {"probes/kernel/error_queue.py": ("next_refusal", "_address")},
        (Fault("probes.kernel.error_queue:next_refusal", " or len(data) < _ERROR.size + _SOCKADDR_IN", ""),),
        share=60,
    ),
    Target(
        "neighbour", neighbour, _answers, {"probes/packets/build.py": ("is_at",)},
        (Fault("probes.packets.build:is_at", "    except (struct.error, IndexError, ValueError, TypeError):", "    except KeyError:"), Fault("probes.packets.build:is_at", "packet.hlim == 255 and ", "")),
        share=3,
    ),
)  # fmt: skip
