"""Envelope, messages up and down, and the packet child's framing."""

from __future__ import annotations

import struct
from typing import Any

import zstandard
from nacl.signing import SigningKey

from agent.challenges import SLACK_S, Challenges
from agent.rounds import Rounds
from probes.child.protocol import (
    ChildArmed,
    Configure,
    FromChild,
    Log,
    Ready,
    SourceDone,
    ToChild,
    Unframer,
    WitnessDone,
    frame,
)
from reachability.allow import AllowList
from reachability.observation import ControlTarget
from reachability.observation import Target as RoundTarget
from tests.fuzz.target import Fault, Shape, Target
from tests.fuzz.targets import rows, samples
from wire.codec import encode
from wire.envelope import HEADER, MOST_BYTES, MOST_MESSAGE_BYTES, BadMessage, pack_up, seal, unpack_up, unseal
from wire.messages import Arm, Batch, Close, Go, Stop, Up
from wire.signing import DOWN, LIFETIME_S, AnyDown, Refused, SignedOrder, open_down, pack_down

SIGNER, NOW, ECHO = SigningKey(b"\1" * 32), 1_800_000_000.0, b"e" * 16


def assert_readable(error: Exception) -> None:
    """An error is a short sentence that no terminal obeys."""
    assert str(error)
    assert str(error).isprintable(), repr(str(error))
    assert len(str(error)) <= 1000


def envelope(data: bytes) -> None:
    for payload in (data, b"\x01\x00" + data, b"\x01\x01" + data):
        try:
            body = unseal(payload)
        except BadMessage as error:
            assert_readable(error)
            continue
        assert len(body) <= MOST_BYTES
        assert unseal(seal(body)) == body


def _envelopes() -> list[bytes]:
    frames = [
        zstandard.ZstdCompressor(write_content_size=sized).compress(b"\0" * (MOST_BYTES + 1)) for sized in (True, False)
    ]
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=25, enable_ldm=True, format=0)
    ).compress(b"abc" * 9)
    sealed = [seal(body) for body in samples.bodies()]
    return [
        *sealed,
        *(one[HEADER:] for one in sealed),
        *(b"\x01\x01" + one for one in frames),
        b"\x01\x01" + wide,
        b"\x02\x00\x80",
        b"\x01\x07\x80",
        b"\x01",
        b"",
        b"\x01\x00" + bytes(MOST_MESSAGE_BYTES),
    ]


def up(data: bytes) -> None:
    try:
        message = unpack_up(b"\x01\x00" + data)
    except BadMessage as error:
        assert_readable(error)
        return
    samples.assert_sane(message)
    assert not isinstance(message, Batch) or 0 <= message.age_s <= 366 * 86400
    assert unpack_up(pack_up(message)) == message


class _Child:
    """What the rounds tell their packet child."""

    def __init__(self) -> None:
        self.told: list[ToChild] = []

    def tell(self, order: ToChild) -> None:
        self.told.append(order)

    def set_busy(self, busy: bool) -> None:
        pass

    def stop_within(self, seconds: float) -> None:
        assert seconds < 1


def down(data: bytes) -> None:
    """Signed by the coordinator, however strange: only what the host's owner allows is handed on. Not signed: refused."""
    assert_refused(data)
    sealed = b"\x01\x00" + data
    try:
        signed = sealed[:HEADER] + SIGNER.sign(DOWN + sealed).signature + data
        order = open_down(SIGNER.verify_key, signed, agent="dev-1")
    except BadMessage as error:
        assert_readable(error)
        return
    samples.assert_sane(order)
    assert order.agent == "dev-1"
    take(order)
    if isinstance(order.body, Arm | Go | Close | Stop):
        obey(order.body)


def take(order: SignedOrder) -> None:
    """It is taken once at most, by who asked for it, and not when that is long ago."""
    age_s = 0.0
    challenges = Challenges(lambda: age_s, lambda: ECHO)
    challenges.current()
    taken = []
    for age_s in (LIFETIME_S + SLACK_S + 1, 1.0, 1.0):
        try:
            challenges.take(order)
        except Refused as error:
            assert_readable(error)
        else:
            taken.append(age_s)
    assert taken in ([], [1.0])
    assert not taken or order.echo == ECHO


def obey(order: Arm | Go | Close | Stop) -> None:
    allow, child = AllowList.of(["10.30.0.0/24", "fd00:30::/64"], ["10.30.0.5"]), _Child()
    answers: list[Up] = []
    rounds = Rounds(
        "dev-1",
        lambda: (allow, ""),
        child,
        spool=lambda _: 1,
        answer=answers.append,
        refused=lambda _: None,
        clock=lambda: 0.0,
    )
    rounds.obey(order)
    for told in child.told:
        touched: list[RoundTarget | ControlTarget] = []
        if isinstance(told, Go):
            touched = [*told.targets, *told.controls]
        elif isinstance(told, Arm):
            touched = [*told.inside]
        for one in touched:
            assert not allow.refuses(one.address), one.address
    samples.assert_sane(tuple(answers))


def assert_refused(data: bytes) -> None:
    """Bytes that the coordinator did not sign."""
    if data in _SIGNED:
        return
    try:
        open_down(SIGNER.verify_key, data, agent="dev-1")
    except BadMessage as error:
        assert_readable(error)
        return
    raise AssertionError("what nobody signed was opened")


_PAYLOADS = [pack_down(SIGNER, "dev-1", 5, body, NOW, echo=ECHO) for body in samples.DOWN]
_SIGNED = set(_PAYLOADS)


def _order(body: AnyDown, **more: Any) -> SignedOrder:
    whole = {"agent": "dev-1", "sequence": 5, "issued": NOW, "expires": NOW + 60, "echo": ECHO, **more}
    return SignedOrder(body=body, **whole)


def _orders() -> list[bytes]:
    orders = [_order(body) for body in samples.DOWN]
    orders += [
        _order(samples.DOWN[4], **more)
        for more in (
            {"agent": "prod-1"},
            {"expires": NOW - 1000},
            {"echo": b""},
            {"echo": b"x" * 16},
            {"echo": b"x" * 65},
            {"sequence": 0},
        )
    ]
    strange = [
        rows.target(n, address, rows.TCP, "22")
        for n, address in enumerate(("10.30.0.5", "::ffff:10.30.0.21", "ff02::1", "10.40.0.1", "db.prod.internal"))
    ]
    control = ControlTarget(address=rows.THERE, protocol=rows.TCP, port=1)
    for targets in (tuple(strange), tuple(strange[:3]), (*strange, *rows.TARGETS)):
        bodies = (
            Go(round="r", key=rows.KEY, kind=rows.NORMAL, targets=targets, controls=(control,)),
            Arm(round="r", key=rows.KEY, kind=rows.NORMAL, source="x", inside=targets),
        )
        orders += [_order(body) for body in bodies]
    return [*map(encode, orders), *_PAYLOADS, b"\x02\x00" + b"s" * 80]


def child(data: bytes) -> None:
    for kind in (FromChild, ToChild):
        whole = _unframed(kind, [data])
        parts = _unframed(kind, [data[at : at + 7] for at in range(0, len(data), 7)])
        assert whole == parts, "how a stream is cut changes nothing"
        for message in whole or ():
            assert Unframer(kind).feed(frame(message)) == [message]  # type: ignore[arg-type]


def _unframed(kind: object, parts: list[bytes]) -> list[ToChild | FromChild] | None:
    """The messages; None when the stream is not ours."""
    unframer = Unframer(kind)  # type: ignore[arg-type]
    found: list[ToChild | FromChild] = []
    try:
        for part in parts:
            found += unframer.feed(part)
    except ValueError:
        return None
    return found


def _streams() -> list[bytes]:
    up_ = (
        Ready(raw=True, notes=("x",)),
        ChildArmed(round="r", ok=True),
        SourceDone(report=rows.source(rows.NORMAL), held=((1.0, 5),)),
        WitnessDone(report=rows.witness(rows.NORMAL)),
        Log(level="info", text="x"),
    )
    down_ = (Configure(agent="dev-1", broker_host="h", broker_port=8883), *samples.DOWN[2:6])
    frames = [frame(message) for message in (*up_, *down_)]
    deep = b"\x82\xa4type\xa5ready\xa1x" + b"\x91" * 1200 + b"\x90"
    return [*frames, frames[0] + frames[1], struct.pack("!I", 1 << 30), struct.pack("!I", len(deep)) + deep, b"\0\0"]


TARGETS = (
    Target(
        "envelope", envelope, _envelopes, {"wire/envelope.py": ("unseal", "_decompress", "BadMessage.__init__")},
        (
            Fault("wire.envelope:_decompress", "    if len(data) > MOST_BYTES:", "    if False:"),
            Fault("wire.envelope:unseal", "    if len(payload) < HEADER:", "    if False:"),
            Fault("wire.envelope:_decompress", "(zstandard.ZstdError, MemoryError)", "MemoryError"),
        ),
        share=8,
    ),
    Target(
        "up", up, samples.messages,
        {"wire/envelope.py": ("unpack_up", "decode"), "wire/columns.py": ("read_batch", "_unpack", "_rows", "_column", "_count", "_length", "_check_targets"), "wire/bounds.py": ()},
        (
            Fault("wire.bounds:_checked", "if not -most_time <= value <= most_time:", "if value > most_time:"),
            Fault("wire.bounds:_checked", "            most = MOST_PORT if name in _PORT else MOST_NUMBER", "            most = MOST_NUMBER"),
            Fault("wire.bounds:_text", "    shown = printable(text[: MOST_TEXT + 1])", "    shown = text"),
            Fault("wire.columns:_column", "        return checked_column(row, name, values)", "        return values"),
            Fault("wire.bounds:age_s", "min(max(seconds, 0.0), MOST_AGE_S)", "seconds"),
        ),
        Shape.MSGPACK,
        share=6,
    ),
    Target(
        "down", down, _orders,
        {"wire/signing.py": ("open_down", "split", "_is_signed", "_checked"), "agent/challenges.py": ("Challenges.take",), "reachability/allow.py": ("AllowList.refuses",), "agent/rounds.py": ("Rounds._arm", "Rounds._go", "Rounds._refusals")},
        (
            Fault("wire.signing:open_down", "    if not _is_signed(key, DOWN, sealed, signature):", "    if False:"),
            Fault("wire.signing:open_down", "    if order.agent != agent:", "    if False:"),
            Fault("agent.challenges:Challenges.take", "        if not age_s <= lifetime_s + SLACK_S:", "        if False:"),
            Fault("agent.challenges:Challenges.take", "        if place <= taken:", "        if place < taken:"),
            Fault("agent.challenges:Challenges.take", "self._asked.get(order.echo)", "self._asked.get(order.echo, self._asked[self._last])"),
            Fault("reachability.refused:kept_of", "if target.id not in gone", "if True"),
            Fault("wire.signing:_checked", "    except ValueError as error:", "    except KeyError as error:"),
        ),
        Shape.MSGPACK,
        share=6,
    ),
    Target(
        "child", child, _streams, {"probes/child/protocol.py": ("Unframer.feed", "frame")},
        (
            Fault("probes.child.protocol:Unframer.feed", "            if len(self._buffer) < 4 + length:", "            if False:"),
            Fault("probes.child.protocol:Unframer.feed", "            except RecursionError as error:", "            except KeyError as error:"),
        ),
        share=20,
    ),
)  # fmt: skip
assert issubclass(Refused, BadMessage)
