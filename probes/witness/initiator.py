"""Who began an exchange of datagrams, and by which interface its packets came in."""

from __future__ import annotations

from probes.packets.parse import Packet

MOST = 16384
HOST_SPOKE_FIRST = ""


class Talks:
    """The flows of datagrams of this host, as its capture shows them."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int, str, int], str] = {}  # own end, other end

    def first_of(self, packet: Packet) -> str:
        """By which interface a flow first came in; `HOST_SPOKE_FIRST` when this host began it: then it is not a probe."""
        key = (packet.destination, packet.dport, packet.source, packet.sport)
        first = self._first.get(key)
        return self._note(key, packet.interface) if first is None else first

    def spoke(self, packet: Packet) -> None:
        """This host sends a datagram."""
        key = (packet.source, packet.sport, packet.destination, packet.dport)
        if key not in self._first:
            self._note(key, HOST_SPOKE_FIRST)

    def _note(self, key: tuple[str, int, str, int], first: str) -> str:
        if len(self._first) >= MOST:
            self._first.clear()
        self._first[key] = first
        return first
