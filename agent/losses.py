"""Reports that could not be spooled, counted where a full disk cannot stop it.

SQLite needs room to write anything. This file is made at its full size beforehand and overwritten in place, in two
slots in turn, so that one of them is whole at any moment.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

_SLOT, _SLOTS = 512, 2
_HEAD = struct.Struct("<II")  # length and CRC-32 of the msgpack that follows


@dataclass(frozen=True, slots=True)
class Moment:
    """A time by both of the host's clocks: the monotonic one counts within a boot, the other between boots."""

    boot: str
    since_boot_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Clock:
    """The host's clocks, injected so that tests own the time."""

    since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    wall: Callable[[], float] = time.time
    boot: str = ""

    def now(self) -> Moment:
        """This moment."""
        return Moment(self.boot, self.since_boot(), self.wall())

    def age_s(self, moment: Moment) -> float:
        """How long ago it was; never less than nothing."""
        same_boot = moment.boot == self.boot
        age = self.since_boot() - moment.since_boot_s if same_boot else self.wall() - moment.wall_s
        return max(age, 0.0)


class Drop(StrEnum):
    """Why reports are lost; of several the words are joined by commas, see `joined`."""

    BYTES = "bytes"  # the spool was full
    AGE = "age"
    DISK = "disk"  # it did not take them
    SIZE = "size"  # they were too large to be sent


@dataclass(frozen=True, slots=True)
class Lost:
    """What was lost: `count` since the spool was made; when and why of those that are in no gap yet."""

    spool: str
    turn: int = 0
    count: int = 0
    begun: Moment | None = None
    ended: Moment | None = None
    why: str = ""


class Losses:
    """The file beside a spool. `lost` is what it says."""

    def __init__(self, path: Path, spool: str) -> None:
        """OSError where the file cannot be made; what another spool left in it does not count."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._fd).st_size < _SLOT * _SLOTS:
                os.pwrite(self._fd, bytes(_SLOT * _SLOTS), 0)
                os.fsync(self._fd)
            found = [slot for index in range(_SLOTS) if (slot := self._read(index)) and slot.spool == spool]
        except OSError:
            os.close(self._fd)
            raise
        self.lost = max(found, key=lambda slot: slot.turn, default=Lost(spool))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def add(self, at: Moment, why: Drop, *, in_gaps: int) -> None:
        """Count one more. `in_gaps` of all that were counted are in a gap already."""
        before, fresh = self.lost, in_gaps >= self.lost.count
        begun = at if fresh or before.begun is None else before.begun
        self.lost = Lost(
            before.spool, before.turn + 1, before.count + 1, begun, at, why if fresh else joined(before.why, why)
        )
        body = msgspec.msgpack.encode(self.lost)
        slot = _HEAD.pack(len(body), zlib.crc32(body)) + body
        with contextlib.suppress(OSError):  # it counts in memory at least
            os.pwrite(self._fd, slot.ljust(_SLOT, b"\0"), _SLOT * (self.lost.turn % _SLOTS))
            os.fdatasync(self._fd)

    def _read(self, index: int) -> Lost | None:
        slot = os.pread(self._fd, _SLOT, _SLOT * index)
        length, crc = _HEAD.unpack_from(slot)
        body = slot[_HEAD.size : _HEAD.size + length]
        if not length or zlib.crc32(body) != crc:
            return None
        try:
            return msgspec.msgpack.decode(body, type=Lost)
        except msgspec.DecodeError:  # of another version
            return None


def joined(*reasons: str) -> str:
    """Several reasons as one text, each once: `age,bytes`."""
    return ",".join(sorted({reason for text in reasons for reason in text.split(",") if reason}))


def boot_id() -> str:
    """Changes with each boot; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
