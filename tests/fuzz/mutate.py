"""Makes new inputs of old ones: byte by byte, or in the tree that msgpack is, or with the words of a text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.fuzz.target import Shape

_EDGES = (
    0,
    1,
    -1,
    2,
    15,
    16,
    127,
    128,
    255,
    256,
    1023,
    65535,
    65536,
    2**31 - 1,
    -(2**31),
    2**32,
    2**53,
    2**63,
    2**64 - 1,
)
_NUMBERS = (0.0, -1.0, 1e-9, 1e9, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "0",
    "-1",
    "65536",
    "1-65535",
    "22,80",
    "9-1",
    "::1",
    "10.30.0.21",
    "fe80::1%a",
    "\x1b[2J",
    "<b>",
    "a" * 1200,
    "\u202e",
    "\0",
    "é",
)


def mutate(
    data: bytes, pool: Sequence[bytes], shape: Shape, words: Sequence[bytes], chance: random.Random, most: int
) -> bytes:
    """One new input."""
    if shape is Shape.MSGPACK and chance.random() < 0.8:
        data = _tree(data, pool, chance)
    else:
        for _ in range(1 << chance.randrange(4)):
            data = _bytes(data, pool, words, chance)
    return data[:most]


def _bytes(data: bytes, pool: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 1, 2, 4, 8, 32)))
    kind = chance.randrange(9 if words else 7)
    if kind == 0:
        return data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]
    if kind == 1 and at < len(data):
        return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:at] + data[at:end] * chance.choice((2, 3, 9)) + data[end:]
    if kind == 4:
        size = chance.choice((1, 2, 4, 8))
        value = chance.choice(_EDGES) % (1 << 8 * size)
        return data[:at] + value.to_bytes(size, chance.choice(("big", "little"))) + data[at + size :]
    if kind == 5:
        other = chance.choice(pool)
        return data[:at] + other[chance.randrange(len(other) + 1) :]
    if kind == 6:
        other = chance.choice(pool)
        start = chance.randrange(len(other) + 1)
        return data[:at] + other[start : start + 16] + data[end:]
    return data[:at] + chance.choice(words or (b"\0",)) + data[at if kind == 7 else end :]


def _tree(data: bytes, pool: Sequence[bytes], chance: random.Random) -> bytes:
    try:
        tree = msgspec.msgpack.decode(data)
        for _ in range(1 + chance.randrange(3)):
            tree = _changed(tree, pool, chance)
        return msgspec.msgpack.encode(tree)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return _bytes(data, pool, (), chance)


def _changed(node: Any, pool: Sequence[bytes], chance: random.Random, depth: int = 0) -> Any:
    if isinstance(node, dict) and node and chance.random() < 0.93:
        key = chance.choice(list(node))
        return {**node, key: _changed(node[key], pool, chance, depth + 1)}
    if isinstance(node, list) and node and chance.random() < 0.85:
        at = chance.randrange(len(node))
        return [*node[:at], _changed(node[at], pool, chance, depth + 1), *node[at + 1 :]]
    return _other(node, pool, chance)


def _other(node: Any, pool: Sequence[bytes], chance: random.Random) -> Any:
    match node:
        case dict():
            keys = list(node)
            kept = {key: value for key, value in node.items() if key != (chance.choice(keys) if keys else None)}
            return kept if chance.random() < 0.5 else {**node, chance.choice(_TEXTS): chance.choice(_EDGES)}
        case list():
            at = chance.randrange(len(node) + 1)
            return chance.choice(
                ([*node, *node], node[:at], node[at:], [*node[:at], *node[at : at + 1], *node[at:]], node * 9)
            )
        case bool():
            return not node
        case int() if chance.random() < 0.8:
            return chance.choice(
                (node + chance.choice((-2, -1, 1, 2, 100)), chance.choice(_EDGES), chance.randrange(64))
            )
        case float() if chance.random() < 0.8:
            return chance.choice((node * chance.choice((-1, 0.5, 2, 1000)), chance.choice(_NUMBERS)))
        case str() if chance.random() < 0.8:
            at = chance.randrange(len(node) + 1)
            return chance.choice(
                (
                    chance.choice(_TEXTS),
                    node[:at] + chance.choice(_TEXTS) + node[at:],
                    node[:at],
                    _elsewhere(pool, str, chance),
                )
            )
        case bytes() if chance.random() < 0.8:
            return _bytes(node, pool, (), chance)
    return chance.choice((None, True, 1, 0.5, "", "x", [], {}, b"", chance.choice(_EDGES), chance.choice(_TEXTS)))


def _elsewhere(pool: Sequence[bytes], kind: type, chance: random.Random) -> Any:
    """A value of the kind from some other input: what fits somewhere may fit here."""
    try:
        node = msgspec.msgpack.decode(chance.choice(pool))
    except (ValueError, RecursionError):
        return ""
    for _ in range(12):
        if isinstance(node, dict) and node:
            node = chance.choice(list(node.values()))
        elif isinstance(node, list) and node:
            node = chance.choice(node)
    return node if isinstance(node, kind) else ""
