"""Every text, list, map and number of every struct that comes in is bounded: found by walking the types, so that a new one is too."""

from __future__ import annotations

import base64
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from reachability.observation import SourceReport
from reachability.ports import PortSet
from wire import messages
from wire.bounds import MOST_INSTANT, MOST_ITEMS, MOST_NUMBER, MOST_TEXT
from wire.columns import _TABLES, _WIRE, MOST_GAPS, MOST_REPORTS, BatchOnWire
from wire.envelope import HEADER, MOST_BYTES, MOST_SMALL_BYTES, BadMessage, seal, unpack_up
from wire.messages import Ack, Batch, Down, Gap, Resolved, Status, Up
from wire.signing import DOWN, SignedOrder, open_down, split

KEY = SigningKey(b"\1" * 32)
Put = Callable[[Any], bytes]  # the message in which a struct has this value
LISTS = (tuple, dict)
ADDRESSES = ("address", "addresses", "came_from", "source_address", "host_hops", "least_hops", "legs")
TEXTS = {"networks": "::/0", "agent": "dev-1", **dict.fromkeys(ADDRESSES, "::1")}


class Place(NamedTuple):
    """A field of a struct, and how to send a message that has a value there."""

    struct: type
    field: str
    hint: Any
    put: Put


def plain(hint: Any) -> Any:
    """Without its annotation, and without None."""
    if hasattr(hint, "__metadata__"):
        return plain(get_args(hint)[0])
    if get_origin(hint) in {Union, UnionType} and NoneType in get_args(hint):
        [left] = [one for one in get_args(hint) if one is not NoneType]
        return plain(left)
    return hint


def hints(kind: type) -> dict[str, Any]:
    return {name: plain(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def required(kind: type) -> list[str]:
    if is_dataclass(kind):
        return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return [f.name for f in msgspec.structs.fields(kind) if f.required]


def least(name: str, hint: Any) -> Any:
    """Something that may stand there."""
    if is_struct(hint):
        return of(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint)).value
    if get_origin(hint) in LISTS:
        pair = [one for one in get_args(hint) if get_origin(hint) is tuple and ... not in get_args(hint)]
        return {} if get_origin(hint) is dict else [least(name, one) for one in pair]
    known = {int: 1, float: 0.0, bool: False, bytes: b"k" * 16, PortSet: "22"}
    return known.get(hint, TEXTS.get(name, ""))


def of(kind: type) -> dict[str, Any]:
    """A struct with what it must have."""
    tag = kind.__struct_config__.tag if hasattr(kind, "__struct_config__") else None
    return {**({"type": tag} if tag else {}), **{name: least(name, hints(kind)[name]) for name in required(kind)}}


def is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, msgspec.Struct))


def up(body: Any) -> bytes:
    return seal(msgspec.msgpack.encode(body))


def down(order: Any) -> bytes:
    sealed = seal(msgspec.msgpack.encode(order))
    return sealed[:HEADER] + KEY.sign(DOWN + sealed).signature + sealed[HEADER:]


def walk(kind: type, put: Put, tables: dict[str, type] | None = None) -> Iterator[Place]:
    """Every field of a struct and of what nests in it."""
    for name, hint in hints(kind).items():

        def within(value: Any, name: str = name) -> bytes:
            return put({**of(kind), name: value})

        if tables and name in tables:
            yield Place(kind, name, dict[str, msgspec.Raw], within)

            def table(row: Any, within: Put = within) -> bytes:
                return within(columns(row))

            yield from walk(tables[name], table)
        elif is_struct(hint):
            yield from walk(hint, within)
        else:
            yield Place(kind, name, hint, within)
            yield from nested(kind, name, hint, within)


def nested(kind: type, name: str, hint: Any, within: Put) -> Iterator[Place]:
    if get_origin(hint) is tuple:
        inner = [plain(one) for one in get_args(hint) if one is not ...]
        for place, one in enumerate(inner):

            def item(value: Any, place: int = place) -> bytes:
                pair = [least(name, inner_hint) for inner_hint in inner]
                pair[place] = value
                return within(pair)

            if is_struct(one):
                yield from walk(one, item, next((_TABLES[report] for report in _TABLES if _WIRE[report] is one), None))
            else:
                yield Place(kind, name, one, item)
                yield from nested(kind, name, one, item)
    elif get_origin(hint) is dict:
        key, value = get_args(hint)
        yield Place(kind, name, key, lambda one: within({one: 1}))
        yield Place(kind, name, value, lambda one: within({"::1": one}))


def columns(row: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [base64.b64encode(v).decode() if isinstance(v, bytes) else v] for name, v in row.items()}


def everywhere() -> list[Place]:
    places: list[Place] = []
    for kind in (*get_args(Up), Status, BatchOnWire):
        places += walk(kind, up)
    places += (place for place in walk_order(Ack) if place.struct is SignedOrder)
    for kind in (*get_args(Down), Ack):
        places += (place for place in walk_order(kind) if place.struct is not SignedOrder)
    return places


def walk_order(kind: type) -> Iterator[Place]:
    def order(changes: dict[str, Any]) -> bytes:
        return down(
            {**{n: least(n, h) for n, h in hints(SignedOrder).items()}, "agent": "dev-1", "body": of(kind), **changes}
        )

    for name, hint in hints(SignedOrder).items():
        if name != "body":

            def within(value: Any, name: str = name) -> bytes:
                return order({name: value})

            yield Place(SignedOrder, name, hint, within)
    yield from walk(kind, lambda body: order({"body": body}))


PLACES = everywhere()
FIELDS = list({(place.struct, place.field, str(place.hint)): place for place in PLACES}.values())


def hostile(hint: Any) -> list[Any]:
    """What no honest sender has in a field of this type."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ["\x1b[2J" * MOST_TEXT]
    if get_origin(hint) is dict:
        return [dict.fromkeys(map(str, range(MOST_ITEMS + 1)), least("", get_args(hint)[1]))]
    if get_origin(hint) is tuple:
        one = plain(get_args(hint)[0])
        return [[least("addresses", one)] * (MOST_ITEMS + 1)]
    if hint is bool:
        return [2]
    found: dict[Any, list[Any]] = {
        int: [MOST_NUMBER + 1, -MOST_NUMBER - 1, 2**63],
        float: [math.nan, math.inf, -math.inf, MOST_INSTANT * 10, -MOST_INSTANT * 10],
        str: ["\x1b[2J" * MOST_TEXT, "x" * (MOST_TEXT + 1)],
        bytes: [bytes(4096)],
        PortSet: ["0-70000", "9" * 300_000, "1," * 200_000],
    }
    return found[hint]  # KeyError: a type whose bound nobody has thought of yet


def within_bounds(value: Any) -> bool:
    match value:
        case None | bool() | Enum() | PortSet():
            return True
        case str():
            return len(value) <= MOST_TEXT and "\x1b" not in value
        case int():
            return abs(value) <= MOST_NUMBER
        case float():
            return abs(value) <= MOST_INSTANT
        case bytes():
            return len(value) <= 2048
        case tuple():
            return len(value) <= MOST_ITEMS and all(map(within_bounds, value))
        case dict():
            return len(value) <= MOST_ITEMS and all(map(within_bounds, (*value, *value.values())))
        case _:
            names = [f.name for f in fields(value)] if is_dataclass(value) else value.__struct_fields__
            return all(within_bounds(getattr(value, name)) for name in names)


def read(payload: bytes) -> Any:
    """A message up, or down, where it carries a signature."""
    try:
        sealed, signature = split(payload)
        KEY.verify_key.verify(DOWN + sealed, signature)
    except (BadMessage, BadSignatureError):
        return unpack_up(payload)
    return open_down(KEY.verify_key, payload, agent="dev-1")


def test_the_walk_meets_every_message_and_whatever_nests_in_it() -> None:
    met = {place.struct for place in PLACES}
    all_of_them = {
        kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert all_of_them - {Batch, msgspec.Struct} <= met
    assert {row for tables in _TABLES.values() for row in tables.values()} <= met
    assert len(FIELDS) > 200


@pytest.mark.parametrize("place", FIELDS, ids=[f"{p.struct.__name__}.{p.field} {p.hint}"[:60] for p in FIELDS])
def test_what_no_honest_sender_has_is_refused_or_cut(place: Place) -> None:
    assert read(place.put(least(place.field, place.hint))), "or the test below shows nothing"
    for value in hostile(place.hint):
        try:
            message = read(place.put(value))
        except BadMessage:
            continue
        assert within_bounds(message), f"{str(value)[:40]} came through"


def many(item: bytes, count: int) -> msgspec.Raw:
    return msgspec.Raw(b"\xdd" + count.to_bytes(4, "big") + item * count)


REPORT = msgspec.msgpack.encode(of(_WIRE[SourceReport]))


@pytest.mark.parametrize(
    ("changes", "most", "where"),
    [
        ({"sources": many(REPORT, 50_000)}, MOST_REPORTS, "$.sources"),
        ({"witnesses": many(REPORT, 50_000)}, MOST_REPORTS, "$.witnesses"),
        ({"sources": [{**of(_WIRE[SourceReport]), "problems": many(b"\xa0", 8_000_000)}]}, MOST_ITEMS, "$.sources[0].problems"),
        ({"gaps": many(msgspec.msgpack.encode(of(Gap)), 100_000)}, MOST_GAPS, "$.gaps"),
    ],
    ids=["sources", "witnesses", "problems", "gaps"],
)  # fmt: skip
def test_a_long_list_is_refused_before_what_is_in_it_is_read(changes: dict[str, Any], most: int, where: str) -> None:
    """16 MiB of the smallest reports were a million of them, which took minutes to read, and went into the store."""
    payload = up({**of(BatchOnWire), **changes})
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match=re.escape(f"Expected `array` of length <= {most} - at `{where}`")):
            unpack_up(payload)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        {**of(Resolved), "lookups": [{"name": ""}] * 90_000, "later": "x" * MOST_SMALL_BYTES},
        {**{name: value for name, value in of(BatchOnWire).items() if name != "type"}, "later": "x" * MOST_SMALL_BYTES, "type": "batch"},
    ],
    ids=["another", "a batch that hides it"],
)  # fmt: skip
def test_what_is_no_batch_may_be_large_in_no_field(body: dict[str, Any]) -> None:
    size = len(msgspec.msgpack.encode(body))
    with pytest.raises(BadMessage, match=f"a message of {size} bytes is no batch"):
        unpack_up(up(body))


def test_a_batch_of_a_later_version_with_many_fields_is_taken() -> None:
    later = {f"field {number}": "x" * 100_000 for number in range(20)}
    assert isinstance(unpack_up(up({**of(BatchOnWire), **later})), Batch)


@pytest.mark.parametrize("field", ["name", "a field of later"])
@pytest.mark.parametrize(("begin", "end"), [(b"\x91", b"\xc0"), (b"\x81\xa0", b"\xc0")], ids=["lists", "maps"])
def test_no_depth_ends_a_daemon(field: str, begin: bytes, end: bytes) -> None:
    deep = msgspec.Raw(begin * 400_000 + end)
    with pytest.raises(BadMessage, match="the message cannot be read"):
        unpack_up(up({**of(Status), field: deep}))
