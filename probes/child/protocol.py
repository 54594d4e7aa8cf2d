"""What the daemon and its packet child say to each other: msgpack behind a length of four bytes, on stdin and stdout."""

from __future__ import annotations

import struct

import msgspec

from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from reachability.topology import Blackout
from wire.codec import decoder, encode
from wire.messages import Arm, Close, Go, Stop
from wire.process.privileges import Held

MOST_BYTES = 64 * 1024 * 1024


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What this host's owner allows, out of the agent's own configuration; the child holds itself to it, whatever is ordered."""

    allow: tuple[str, ...] = ()  # networks; nothing is sent elsewhere
    deny: tuple[str, ...] = ()
    blackout: tuple[Blackout, ...] = ()
    rate_pps: int = 0  # at most; 0: as the order says
    flows: int = 0  # likewise


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag="configure"):
    """The first message: how hard to send, and where the broker is (a capture is shown to work by calling it)."""

    agent: str
    rate_pps: int = 1000
    flows: int = 50_000
    held: tuple[tuple[float, int], ...] = ()  # seconds that flows of an earlier child still count, and how many
    broker_host: str = ""
    broker_port: int = 0
    bounds: Bounds = Bounds()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The child is up; `lacks` says why it has no raw sockets.

    `holds` is told by the child itself: where /proc hides what one may not trace (ProtectProc=), its parent cannot look.
    """

    raw: bool
    lacks: str = ""
    notes: tuple[str, ...] = ()
    files: str = ""  # why files of the host are not out of its reach (Landlock); "" when they are
    holds: Held | None = None  # None: there is no /proc to read it from


class ChildArmed(msgspec.Struct, frozen=True, kw_only=True, tag="armed"):
    """A witness's capture has shown itself to work, or not."""

    round: str
    ok: bool
    problems: tuple[str, ...] = ()


class SourceDone(msgspec.Struct, frozen=True, kw_only=True, tag="source"):
    """A source or inside control is done. `tail_s`: how long witnesses must listen on."""

    report: SourceReport
    tail_s: float = 0.0
    held: tuple[tuple[float, int], ...] = ()  # flows that routers may still have, as in `Configure`


class WitnessDone(msgspec.Struct, frozen=True, kw_only=True, tag="witness"):
    """What a witness saw; late corrections come unasked."""

    report: WitnessReport


class Halted(msgspec.Struct, frozen=True, kw_only=True, tag="halted"):
    """It sends nothing more of what is under way: a blackout has begun. A `Stop` is what it waits for."""

    why: str


class Log(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Something for the daemon's log."""

    level: str
    text: str
    round: str = ""  # that it belongs to


def round_of(message: ChildArmed | SourceDone | WitnessDone | Halted) -> str:
    """The round that it is about, "" for all that are under way."""
    if isinstance(message, Halted):
        return ""
    return message.round if isinstance(message, ChildArmed) else message.report.round


ToChild = Configure | Arm | Go | Close | Stop
FromChild = Ready | ChildArmed | SourceDone | WitnessDone | Halted | Log


def frame(message: ToChild | FromChild) -> bytes:
    """The bytes of a message, its length in front."""
    body = encode(message)
    return struct.pack("!I", len(body)) + body


class Unframer:
    """Cuts a byte stream into messages."""

    def __init__(self, kind: type[ToChild | FromChild]) -> None:
        self._decoder = decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[ToChild | FromChild]:
        """The messages that are whole now; ValueError when the stream is not ours."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= 4:  # noqa: PLR2004 - the length
            (length,) = struct.unpack_from("!I", self._buffer)
            if length > MOST_BYTES:
                raise ValueError(f"a message of {length} bytes from the packet child")
            if len(self._buffer) < 4 + length:
                break
            try:
                messages.append(self._decoder.decode(bytes(self._buffer[4 : 4 + length])))
            except RecursionError as error:
                raise ValueError("a message nested without end from the packet child") from error
            del self._buffer[: 4 + length]
        return messages
