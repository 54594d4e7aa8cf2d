"""What the two sides of `segwatch try` hand each other: one line of text before, sealed reports after.

The line is made by the destination and carries the round's key, so whoever has it can probe as the source and read the
reports, for as long as the destination listens. Reports go over a connection where one can be made, else as text that a
person carries. They are sealed with a key that is derived from the round's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from functools import cache

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from reachability.observation import ControlTarget, SourceReport, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundSpec
from reachability.topology import is_address
from reachability.verdict import Evidence
from reachability.vocabulary import ControlKind, Protocol, RoundKind, Schedule
from wire.codec import decoder, encode
from wire.envelope import BadMessage, decode, seal, unseal
from wire.messages import Go

VERSION = 1
SOURCE, DESTINATION = "source", "destination"
LINE, SENT, TOLD = "try1.", "sent1.", "told1."  # what a person copies begins with one of them
MOST_PORTS = 32  # so that a report is a line that a terminal takes, which is 4095 characters
KEY, CHECK, DIGEST = 16, 4, 8
MOST_TEXT = 64 * 1024


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """What is asked of one address."""

    address: str
    tcp: PortSet = PortSet()
    udp: PortSet = PortSet()
    icmp: bool = False

    def __len__(self) -> int:
        """How many cells."""
        return len(self.tcp) + len(self.udp) + self.icmp


class Line(msgspec.Struct, frozen=True, array_like=True):
    """What the source has to know."""

    version: int
    round: str
    key: bytes
    meet: int  # port at the destination where reports are taken, over TCP; over UDP and TCP it answers controls too
    canary: int  # a TCP port that nobody serves there
    asked: tuple[Asked, ...]

    def targets(self) -> tuple[Target, ...]:
        """The same on both sides, ids included."""
        return tuple(self._targets())

    def _targets(self) -> Iterator[Target]:
        number = 0
        for asked in self.asked:
            wanted = (
                (Protocol.TCP, asked.tcp),
                (Protocol.UDP, asked.udp),
                (Protocol.ICMP, ICMP_CELL if asked.icmp else PortSet()),
            )
            for protocol, ports in wanted:
                if not ports:
                    continue
                number += 1
                yield Target(
                    id=number,
                    environment=DESTINATION,
                    address=asked.address,
                    protocol=protocol,
                    ports=ports,
                    first=ports if protocol is not Protocol.ICMP else PortSet(),
                    witness=DESTINATION,
                    canary=self.canary,
                )

    def controls(self) -> tuple[ControlTarget, ...]:
        """What the destination answers for the try: where it is let through, it shows that the source's packets get out."""
        return tuple(
            ControlTarget(address=asked.address, protocol=protocol, port=self.meet, kind=ControlKind.MEETING)
            for asked in self.asked
            for protocol, ports in ((Protocol.TCP, asked.tcp), (Protocol.UDP, asked.udp))
            if ports
        )

    def spec(self) -> RoundSpec:
        """The round, as the verdict's rules want it."""
        return RoundSpec(
            round=self.round,
            kind=RoundKind.NORMAL,
            schedule=Schedule.TRY,
            source=SOURCE,
            source_environment=SOURCE,
            destination=DESTINATION,
            targets=self.targets(),
        )

    def text(self) -> str:
        """As a person copies it."""
        body = encode(self)
        return LINE + _text(body + hashlib.sha256(body).digest()[:CHECK])


class TrialCell(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that are alike, and all that bears on them: the verdict follows from it alone."""

    source_address: str
    address: str
    protocol: Protocol
    ports: PortSet
    evidence: Evidence

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ICMP and not self.ports:  # as it travels
            msgspec.structs.force_setattr(self, "ports", ICMP_CELL)


class Sent(msgspec.Struct, frozen=True, kw_only=True, tag="sent"):
    """From the source, once all is sent and the tail is over: so a witness that hears of it has listened to the end."""

    report: SourceReport


class Follow(msgspec.Struct, frozen=True, kw_only=True, tag="follow"):
    """From the destination, over a connection alone: a further round that settles what is open; answered by `Sent`."""

    go: Go


class Concluded(msgspec.Struct, frozen=True, kw_only=True, tag="concluded"):
    """From the destination: what both reports say together. `of`: the digest of the report that it is about."""

    of: bytes
    cells: tuple[TrialCell, ...]
    listened_s: float = 0.0


ToSource = Follow | Concluded


class Seal:
    """Seals and opens the reports of one try."""

    def __init__(self, line: Line) -> None:
        self._box = SecretBox(hmac.digest(line.key, b"try " + line.round.encode(), "sha256"))

    def close(self, message: Sent | ToSource) -> bytes:
        """What goes over a connection."""
        return bytes(self._box.encrypt(seal(encode(message))))

    def sent(self, data: bytes) -> Sent:
        """Read what the source says; BadMessage for what is not of this try."""
        return decode(_sent(), self._open(data))

    def told(self, data: bytes) -> ToSource:
        """Read what the destination says."""
        return decode(_told(), self._open(data))

    def _open(self, data: bytes) -> bytes:
        try:
            return unseal(self._box.decrypt(data))
        except (CryptoError, ValueError):
            raise BadMessage("it belongs to another try, or was altered") from None


def digest(report: SourceReport) -> bytes:
    """What an answer to a report names it by."""
    return hashlib.sha256(encode(report)).digest()[:DIGEST]


def to_text(prefix: str, sealed: bytes) -> str:
    """A sealed report as a person carries it."""
    return prefix + _text(sealed)


def from_text(prefix: str, text: str) -> bytes:
    """The sealed report in a line; BadMessage says what else it is."""
    word = text.strip()
    if not word.startswith(prefix):
        raise BadMessage(f"a line that begins with '{prefix}' is wanted here, not '{word[:12]}…'")
    return _bytes(word.removeprefix(prefix))


def read_line(text: str) -> Line:
    """Read the destination's line; BadMessage says what is wrong with it."""
    data = from_text(LINE, text)
    body, check = data[:-CHECK], data[-CHECK:]
    if len(data) <= CHECK or hashlib.sha256(body).digest()[:CHECK] != check:
        raise BadMessage("the line is cut short or altered: copy all of it")
    line = decode(_line(), body)
    if line.version != VERSION:
        raise BadMessage(f"the line is of version {line.version}, this segwatch speaks {VERSION}: use the same on both")
    try:
        cells = sum(map(len, line.asked))
    except ValueError as error:
        raise BadMessage(f"the line cannot be read: {error}") from error
    if len(line.key) != KEY or not 0 < cells <= MOST_PORTS:
        raise BadMessage(f"the line asks for no port, or for more than {MOST_PORTS}")
    if not all(is_address(asked.address) for asked in line.asked) or not _is_port(line.meet, line.canary):
        raise BadMessage("the line names no address or no port")
    return line


def _is_port(*ports: int) -> bool:
    return all(0 < port <= 65535 for port in ports)  # noqa: PLR2004


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if len(text) > MOST_TEXT:
        raise BadMessage(f"a line of {len(text)} characters is not one of ours")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("the line is cut short or altered: copy all of it") from None


@cache
def _line() -> msgspec.msgpack.Decoder[Line]:
    return decoder(Line)


@cache
def _sent() -> msgspec.msgpack.Decoder[Sent]:
    return decoder(Sent)


@cache
def _told() -> msgspec.msgpack.Decoder[ToSource]:
    return decoder(ToSource)
