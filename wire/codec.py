"""Msgpack of messages. A set of ports travels as the text that people write, and as "" where it is ICMP's one cell."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from reachability.ports import PortSet, text_of

MOST_PORTS_TEXT = 256 * 1024  # every other port is 190 kB

_T = TypeVar("_T")


def encode(value: Any) -> bytes:
    """Msgpack of a value."""
    return msgspec.msgpack.encode(value, enc_hook=enc_hook)


def decode(data: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """Read a value that `encode` wrote; msgspec.DecodeError for what is not one."""
    return msgspec.msgpack.decode(data, type=kind, dec_hook=dec_hook)


def decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """What reads many values of a kind."""
    return msgspec.msgpack.Decoder(kind, dec_hook=dec_hook)


def enc_hook(value: Any) -> str:
    """The form on the wire of what msgpack and JSON do not have."""
    if isinstance(value, PortSet):
        return text_of(value) or ""
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def dec_hook(kind: type[Any], sent: Any) -> PortSet:
    """Read it back; ValueError, which msgspec takes for its own and adds the place to."""
    if kind is not PortSet:
        raise NotImplementedError(f"{kind.__name__} has no form on the wire")
    if not isinstance(sent, str):
        raise ValueError(f"ports are a text, not {type(sent).__name__}")  # noqa: TRY004 - msgspec names the place of it
    if len(sent) > MOST_PORTS_TEXT:
        raise ValueError(f"ports are a text of {len(sent)} characters")
    return PortSet.of_row(sent)
