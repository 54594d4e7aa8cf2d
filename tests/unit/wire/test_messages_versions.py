"""Messages of a sender that is a little older or newer: more fields, fewer fields, another version; both ways."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from nacl.signing import SigningKey

from reachability.observation import ControlTarget, Lookup, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from wire.codec import encode
from wire.envelope import AnyUp, BadMessage, OtherVersion, seal, unpack_up
from wire.messages import SCHEMA, Ack, Arm, Armed, Batch, Close, Done, Go, Plan, Resolve, Resolved, Status, Stop
from wire.signing import DOWN, AnyDown, SignedOrder, _signed, open_down, pack_down

KEY = SigningKey(b"\1" * 32)
TARGET = Target(id=1, environment="prod", address="10.30.0.10", protocol=Protocol.TCP, ports=PortSet.parse("22"))
CONTROL = ControlTarget(address="10.0.0.1", protocol=Protocol.TCP, port=8883)
DOWNS: list[AnyDown] = [
    Plan(digest="d"),
    Resolve(id="1", names=("a",)),
    Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="dev-1", targets=(TARGET,)),
    Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=(TARGET,), controls=(CONTROL,)),
    Close(round="r"),
    Stop(reason="x"),
    Ack(spool="s", sequence=1),
]
UPS: list[AnyUp] = [
    Status(name="dev-1", environment="dev", online=True),
    Resolved(id="1", lookups=(Lookup(name="a"),)),
    Armed(round="r", agent="dev-1", ok=True),
    Done(round="r", agent="dev-1", sequence=1),
    Batch(spool="s", sequence=1, age_s=0.0),
]


def names(message: Any) -> str:
    return type(message).__name__.lower()


def fields(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(encode(message))
    return found


def more(found: Any) -> Any:
    """The same with a field of a later version in every map."""
    if isinstance(found, dict):
        return {**{key: more(value) for key, value in found.items()}, "of_a_later_version": {"x": [1]}}
    return [more(value) for value in found] if isinstance(found, list) else found


def down(body: Any, **order: Any) -> bytes:
    """Signed by a coordinator of another version."""
    whole = {"agent": "dev-1", "sequence": 1, "issued": 0.0, "expires": 60.0, "echo": b"e", "body": body, **order}
    return _signed(KEY, DOWN, seal(encode(whole)))


def opened(payload: bytes) -> SignedOrder:
    return open_down(KEY.verify_key, payload, agent="dev-1")


@pytest.mark.parametrize("body", DOWNS, ids=names)
def test_an_agent_reads_a_newer_coordinators_messages(body: AnyDown) -> None:
    assert opened(down(more(fields(body)), of_a_later_version=1)).body == body


@pytest.mark.parametrize("message", UPS, ids=names)
def test_a_coordinator_reads_a_newer_agents_messages(message: AnyUp) -> None:
    assert unpack_up(seal(encode(more(fields(message))))) == message


def without_optional(message: Any) -> dict[str, Any]:
    required = {f.name for f in msgspec.structs.fields(type(message)) if f.required}
    return {name: value for name, value in fields(message).items() if name in required or name == "type"}


@pytest.mark.parametrize("body", DOWNS, ids=names)
def test_an_agent_reads_an_older_coordinators_messages(body: AnyDown) -> None:
    read = opened(down(without_optional(body))).body
    assert type(read) is type(body)
    defaults = {f.name: f.default for f in msgspec.structs.fields(type(body)) if not f.required}
    assert {name: getattr(read, name) for name in defaults} == defaults
    bare = {"agent": "dev-1", "sequence": 1, "issued": 0.0, "expires": 60.0, "body": fields(body)}
    order = opened(_signed(KEY, DOWN, seal(encode(bare))))
    assert order.echo == b"", "of before challenges: `agent.challenges` refuses it in words"


@pytest.mark.parametrize("message", UPS, ids=names)
def test_a_coordinator_reads_an_older_agents_messages(message: AnyUp) -> None:
    assert type(unpack_up(seal(encode(without_optional(message))))) is type(message)


def lacking() -> list[tuple[Any, str]]:
    """Every message with each of its required fields."""
    return [(m, f.name) for m in (*DOWNS, *UPS) for f in msgspec.structs.fields(type(m)) if f.required]


@pytest.mark.parametrize(("message", "name"), lacking(), ids=lambda x: x if isinstance(x, str) else names(x))
def test_what_lacks_a_field_that_must_be_there_is_refused_in_words(message: Any, name: str) -> None:
    left = {key: value for key, value in fields(message).items() if key != name}
    with pytest.raises(BadMessage, match=f"missing required field `{name}`"):
        opened(down(left)) if message in DOWNS else unpack_up(seal(encode(left)))


@pytest.mark.parametrize("kind", ["renew", "", 7])
def test_a_kind_of_message_that_is_not_known_yet_is_refused_in_words(kind: object) -> None:
    with pytest.raises(BadMessage, match="cannot be read"):
        opened(down({"type": kind}))
    with pytest.raises(BadMessage, match="cannot be read"):
        unpack_up(seal(encode({"type": kind})))


def test_a_word_of_a_later_version_is_refused_in_words() -> None:
    go = fields(DOWNS[3]) | {"kind": "teleport"}
    with pytest.raises(BadMessage, match="Invalid enum value 'teleport'"):
        opened(down(go))


@pytest.mark.parametrize("version", [SCHEMA - 1, SCHEMA + 1])
def test_another_schema_version_is_said_before_anything_else_is_doubted(version: int) -> None:
    words = f"schema version {version}, this segwatch speaks {SCHEMA}: upgrade the older of the two"
    payload = pack_down(KEY, "dev-1", 1, Stop(), 0.0)
    with pytest.raises(OtherVersion, match=words):
        opened(bytes([version]) + payload[1:])
    with pytest.raises(OtherVersion, match=words):
        unpack_up(bytes([version]) + seal(encode(UPS[0]))[1:])
