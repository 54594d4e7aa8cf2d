"""Finding out which copy of which cell a packet is, by the token it carries."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from probes.packets.parse import TCP, Packet
from probes.packets.token import ALL_COPIES, TOKEN, token
from reachability.vocabulary import Protocol

MOST_BYTES = 32 * 1024 * 1024
MOST_SETS = 1000


class Endpoint(NamedTuple):
    """What a target is, but for its ports."""

    address: str
    protocol: Protocol


class CellId(NamedTuple):
    """One cell of a witness: what a packet to it is recognised by."""

    address: str
    protocol: Protocol
    port: int  # 0 for ICMP

    @property
    def endpoint(self) -> Endpoint:
        """All of it but the port."""
        return Endpoint(self.address, self.protocol)


class Keyring:
    """The tokens of one key, made when they are wanted: copies come in their order, so most packets cost one HMAC.

    A cell's tokens lie one after the other in a string of bytes, which is small and quickly searched. All of them are made
    only for a cell that gets a packet with none of them: other people's traffic.
    """

    __slots__ = ("_key", "_made", "_sets", "_size")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._made: dict[CellId, bytes] = {}
        self._sets: dict[CellId, frozenset[bytes]] = {}  # of all tokens of some cells
        self._size = 0

    def copy_of(self, cell: CellId, packet: Packet) -> int | None:
        """The copy that the packet is; None: it carries no token of this key."""
        fields = _fields(packet)
        made = self._made.get(cell, b"")
        for wanted, place in fields:
            at = made.find(wanted)
            while at >= 0:
                if at % TOKEN == place:
                    return at // TOKEN
                at = made.find(wanted, at + 1)
        found = None
        if len(made) < ALL_COPIES * TOKEN:
            made, found = self._make_more(cell, made, fields)
        if found is None and packet.protocol != TCP and len(packet.payload) > TOKEN:
            found = self._within(cell, made, packet.payload)
        return found

    def _within(self, cell: CellId, made: bytes, payload: bytes) -> int | None:
        """The copy whose token is anywhere in a payload: a request of a service's own may hold it further back.

        Each datagram of other people's that comes to a cell is asked here.
        """
        tokens = self._sets.get(cell)
        if tokens is None:
            if len(self._sets) >= MOST_SETS:
                self._sets.clear()
            tokens = self._sets[cell] = frozenset(_each(made))
        shown = next(
            (tok for at in range(len(payload) - TOKEN + 1) if (tok := payload[at : at + TOKEN]) in tokens), None
        )
        return None if shown is None else list(_each(made)).index(shown)

    def _make_more(self, cell: CellId, made: bytes, fields: list[tuple[bytes, int]]) -> tuple[bytes, int | None]:
        """Tokens up to the one that fits, or all."""
        before, found = len(made), None
        parts = [made]
        for copy in range(before // TOKEN, ALL_COPIES):
            tok = token(self._key, *cell, copy)
            parts.append(tok)
            if any(tok.startswith(wanted, place) for wanted, place in fields):
                found = copy
                break
        made = b"".join(parts)
        self._size += len(made) - before
        if self._size > MOST_BYTES:  # they can be made again
            self._made.clear()
            self._size = len(made)
        self._made[cell] = made
        return made, found


def _each(made: bytes) -> Iterator[bytes]:
    return (made[at : at + TOKEN] for at in range(0, len(made), TOKEN))


def _fields(packet: Packet) -> list[tuple[bytes, int]]:
    """Where a token shows: (bytes, their place in the token)."""
    if packet.protocol != TCP:
        return [(packet.payload[:TOKEN], 0)] if len(packet.payload) >= TOKEN else []
    fields = [(struct.pack("!I", packet.seq), 0)]
    if packet.ts_val >= 0:
        fields.append((struct.pack("!I", packet.ts_val), 4))
    return fields
