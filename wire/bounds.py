"""What a message that can be read may hold: every number, port, address and text in it is bounded where it comes in.

A type says that a field is a number; that it is a port, or that a time is not NaN, no type says. What no honest sender has
is refused. A text that people are shown is cleaned instead: what a scanned host said travels in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from reachability.arrival import ArrivalRow, Crowded, Untokened, WitnessHealth
from reachability.observation import ControlResult, ControlTarget, KernelFlow, Observation
from reachability.ports import PortSet
from reachability.texts import printable
from wire.messages import Arm, Go

MOST_NUMBER = 2**53 - 1  # a float, JSON and SQLite hold it exactly
MOST_TIME = 1e9  # seconds or milliseconds of a span
MOST_INSTANT = 1e11  # seconds since the epoch: the year 5138
MOST_AGE_S = 366 * 86400.0  # a host whose clock stood at 1970 says more, and is not refused for it
MOST_TEXT = 1000
MOST_BYTES = 2048
MOST_ITEMS = 100_000
KEY_BYTES = 16  # of a round's
MOST_PORT, MOST_SLOTS, MOST_COPIES = 65535, 1024, 1024

_FEWER_BYTES = {"challenge": 64, "echo": 64, "key": 32, "proof": 128}
_OF_ROUNDS = {Arm, Go}
_PORT = {"port", "source_port", "canary"}
_COPIES = {"sent", "covered", "flows", "refused", "copies", "last_copy", "first_copy"}
_OF_CELLS = {ArrivalRow, Observation}
_SIGNED = {"generation", "noports", "moved", "udp_unbound", "times_ms", "stopped"}  # differences, or -1 for not said
_INSTANTS = {"issued", "expires", "sent_at", "certificate_from", "certificate_until"}
_ADDRESS = {"came_from", "refused_by", "source_address"}  # or ""
_ADDRESSES = {"addresses", "host_hops", "least_hops", "legs"}
# Elsewhere a name stands in `address` where it did not resolve.
_HAVE_ADDRESS = {ArrivalRow, ControlResult, ControlTarget, Crowded, KernelFlow, Untokened, WitnessHealth}


def checked(value: Any) -> Any:
    """A struct or dataclass, texts within cleaned; ValueError for what no honest sender has, naming the field."""
    kind = type(value)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind.__struct_fields__
    changed = {}
    for name in names:
        held = getattr(value, name)
        new = _checked(kind, name, held)
        if new is not held:
            changed[name] = new
    if not changed:
        return value
    return msgspec.structs.replace(value, **changed) if isinstance(value, msgspec.Struct) else replace(value, **changed)


def checked_column(kind: type, name: str, values: Sequence[Any]) -> Sequence[Any]:
    """One field of many rows, each different value once."""
    if values and isinstance(values[0], tuple):
        return [_checked(kind, name, value) for value in values]
    new = {value: _checked(kind, name, value) for value in set(values)}
    return values if all(new[value] is value for value in new) else [new[value] for value in values]


def age_s(seconds: float) -> float:
    """An age as it is used; one that is not a number stays what it is, and is refused."""
    return min(max(seconds, 0.0), MOST_AGE_S)


def _checked(kind: type, name: str, value: Any) -> Any:
    match value:
        case None | bool() | Enum() | PortSet():  # a set of ports holds nothing else
            return value
        case str():
            return _text(kind, name, value)
        case int():
            most = MOST_PORT if name in _PORT else MOST_NUMBER
            if name in _COPIES and kind in _OF_CELLS:
                most = MOST_COPIES
            if not (-most if name in _SIGNED else 0) <= value <= most:
                raise ValueError(f"{name} of {kind.__name__} is {value}, out of range")
            return value
        case float():
            most_time = MOST_INSTANT if name in _INSTANTS else MOST_TIME
            if not -most_time <= value <= most_time:
                raise ValueError(f"{name} of {kind.__name__} is {value}, out of range")
            return value
        case bytes():
            exact = name == "key" and kind in _OF_ROUNDS
            if len(value) > _FEWER_BYTES.get(name, MOST_BYTES) or (exact and len(value) != KEY_BYTES):
                raise ValueError(f"{name} of {kind.__name__} has {len(value)} bytes")
            return value
        case tuple() | dict():
            return _items(kind, name, value)
        case _:
            return checked(value)


def _items(kind: type, name: str, value: Any) -> Any:
    if len(value) > (MOST_SLOTS if name == "slots" else MOST_ITEMS):
        raise ValueError(f"{name} of {kind.__name__} has {len(value)} entries")
    if isinstance(value, dict):
        return {_checked(kind, name, key): _checked(kind, name, one) for key, one in value.items()}
    if name == "groups" and value and isinstance(value[0], tuple):
        return tuple((_checked(kind, "target", one), ports) for one, ports in value)
    new = tuple(_checked(kind, name, one) for one in value)
    return value if all(one is old for one, old in zip(new, value, strict=True)) else new


def _text(kind: type, name: str, text: str) -> str:
    if name == "networks":
        ip_network(text)
    elif name in _ADDRESSES or (name == "address" and kind in _HAVE_ADDRESS) or (name in _ADDRESS and text):
        _address(kind, name, text)
    shown = printable(text[: MOST_TEXT + 1])
    return shown if len(shown) <= MOST_TEXT else f"{shown[: MOST_TEXT - 1]}…"


def _address(kind: type, name: str, text: str) -> None:
    try:
        if "%" in text:  # a scope is any text, and means nothing elsewhere
            raise ValueError(text)
        ip_address(text)
    except ValueError:
        raise ValueError(f"{name} of {kind.__name__} is not an address: '{printable(text[:60])}'") from None
