"""Values as the store has them: msgpack, compressed where that is worth it. Sets of ports are text, ICMP's cell is null."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import zstandard

from reachability.ports import ICMP_CELL, PortSet, text_of

WORTH_COMPRESSING = 512
_FRAME = zstandard.FRAME_HEADER  # b"\x28\xb5\x2f\xfd": no msgpack of a map or an array begins with it
_T = TypeVar("_T")


def encode(value: Any) -> bytes:
    """Msgpack of a value."""
    return msgspec.msgpack.encode(value, enc_hook=plain)


def pack(value: Any) -> bytes:
    """Msgpack of a value that may be large, compressed."""
    body = encode(value)
    return zstandard.ZstdCompressor(level=3).compress(body) if len(body) >= WORTH_COMPRESSING else body


def decode(data: bytes, kind: type[_T]) -> _T:
    """Read either back; msgspec.DecodeError and zstandard.ZstdError where it is neither."""
    if data[: len(_FRAME)] == _FRAME:
        data = zstandard.ZstdDecompressor().decompress(data)
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_decode_ports)


def plain(ports: Any) -> str | None:
    """What a set of ports is in msgpack or JSON; NotImplementedError for anything else."""
    if isinstance(ports, PortSet):
        return text_of(ports)
    raise NotImplementedError(f"{type(ports).__name__} is not stored")


def _decode_ports(kind: type[Any], stored: Any) -> PortSet:
    if kind is not PortSet:
        raise NotImplementedError(f"{kind.__name__} is not stored")
    if isinstance(stored, dict):  # as findings had it until December 2026
        return PortSet.from_ranges(stored["ranges"])
    return ICMP_CELL if stored is None else PortSet.of_row(stored)
