"""What a witness saw of a sweep by connect: its packets have no room for a token and are known by their source ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.packets.columns import Columns, packed
from probes.packets.parse import ACK, RST, SYN, TCP
from probes.packets.port_arrays import WINDOWS, Mask, Places, place_of, port_set, window_of
from probes.packets.token import CONNECT_COPIES, connect_ports
from reachability.arrival import Untokened
from reachability.observation import Target

MOST = 64


@dataclass(slots=True)
class Connector:
    """One source address and port: the places at which something came from there, and those from which it was answered."""

    source: np.void
    text: str
    port: int
    came: Mask
    answered: Mask
    packets: int = 0


class Connectors:
    """Those of one target. Any program may use such a source port, so nothing counts unless the source reports it as its own."""

    def __init__(
        self, target: Target, key: bytes, keep: Callable[[Columns, Places], None], *, expected: bool = True
    ) -> None:
        """`keep`: told of the packets that are taken and the places they go to. Not `expected`: none is."""
        self._target = target
        self._keep = keep
        self._numbers, self._place = place_of(target.ports)
        self._window = window_of(self._numbers)
        self._packed = packed(target.address)
        self._ports = [
            np.array([port for copy in range(CONNECT_COPIES) for port in connect_ports(key, copy, window)], np.uint16)
            for window in WINDOWS
            if expected
        ]
        self._found: dict[tuple[bytes, int], Connector] = {}

    def take(self, columns: Columns) -> Mask:
        """Take what comes from one of the source ports; which packets that were."""
        used = np.zeros(len(columns.rows), bool)
        if columns.protocol != TCP:
            return used
        sport, places = columns.sport, self._place[columns.dport]
        meant = (places >= 0) & (columns.destination == self._packed)
        for window, ports in enumerate(self._ports):
            used |= meant & (self._window[places] == window) & np.isin(sport, ports)
        source = columns.source
        for port in np.unique(sport[used]).tolist():
            for address in np.unique(source[used & (sport == port)]):
                here = used & (sport == port) & (source == address)
                connector = self._connector(address, port, columns)
                if connector is None:
                    used &= ~here
                    continue
                self._keep(columns.take(here), places[here])
                connector.came[places[here]] = True
                connector.packets += int(np.count_nonzero(here))
        return used

    def answers(self, columns: Columns) -> Mask:
        """Take the host's answers among packets that went out; which they were."""
        ours = np.zeros(len(columns.rows), bool)
        if not self._found or columns.protocol != TCP:
            return ours
        places, flags = self._place[columns.sport], columns.flags
        answers = ((flags & RST) != 0) | ((flags & (SYN | ACK)) == SYN | ACK)
        answers &= (places >= 0) & (columns.source == self._packed)
        for connector in self._found.values():
            which = answers & (columns.dport == connector.port) & (columns.destination == connector.source)
            which &= connector.came[places]
            connector.answered[places[which]] = True
            ours |= which
        return ours

    def rows(self) -> Iterator[Untokened]:
        """A row for each source port, and whether the host answered."""
        for connector in self._found.values():
            for answered in (False, True):
                there: NDArray[np.bool_] = connector.came & (connector.answered == answered)
                if there.any():
                    yield Untokened(
                        address=self._target.address,
                        protocol=self._target.protocol,
                        port=0,
                        ports=port_set(self._numbers[there]),
                        came_from=connector.text,
                        source_port=connector.port,
                        count=connector.packets,
                        answered=answered,
                    )

    def forget(self) -> None:
        """The round is reported."""
        self._found.clear()

    def _connector(self, source: np.void, port: int, columns: Columns) -> Connector | None:
        found = self._found.get((source.tobytes(), port))
        if found is None and len(self._found) < MOST:
            came, answered = np.zeros((2, len(self._numbers)), bool)
            found = self._found[source.tobytes(), port] = Connector(source, columns.text(source), port, came, answered)
        return found
