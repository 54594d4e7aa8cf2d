"""What a witness saw of one target in a sweep, as numpy columns: one place per port; `arrivals.Seen` is one cell's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from probes.packets.columns import OUR_HEADER, TIMESTAMP, Columns, packed
from probes.packets.mangling import Look, as_code, looks, of_code
from probes.packets.parse import ACK, RST, SYN, TCP, UDP
from probes.packets.port_arrays import Mask, Places, hops_of, place_of, port_set
from probes.packets.retained import OTHERS, Kept, Sample
from probes.packets.token import CELL_COPIES, TOKEN, token, tokens
from probes.witness.connect_arrivals import Connectors
from reachability.arrival import ArrivalRow
from reachability.observation import Target
from reachability.topology import family
from reachability.vocabulary import PacketRole, Protocol

LEAST_PORTS = 256
KEPT_TOKENS = 6  # copies of which tokens are kept, or more of them are late
SAMPLES = 8  # packets that may be of a copy whose tokens are not yet made


class SweepArrivals:
    """One target. Bit n of `seen` is copy n; once the round is reported, of late copies alone."""

    def __init__(
        self, target: Target, key: bytes, kept: Kept, rivals: Iterable[str] = (), *, connects: bool = True
    ) -> None:
        """`rivals`: source addresses that the round sends to the same endpoints from, for other targets.

        `connects`: its source may sweep by connect.
        """
        self.target = target
        self._kept = kept
        self._rivals = [packed(source) for source in rivals if source and family(source) == family(target.address)]
        self.ports = target.ports
        self.numbers, self.place = place_of(self.ports)
        self._sample = Sample(len(self.numbers), 2 * OTHERS)  # what is open at the source, and what is closed
        self._reported: Mask | None = None  # ports that the report says were seen
        self.sources: list[str] = []
        self._packed_sources: list[np.void] = []
        self._allocate(len(self.numbers))
        self._key = key
        self._packed = packed(target.address)
        self._tokens: dict[int, NDArray[np.uint8]] = {}
        self.connectors = Connectors(
            target, key, lambda columns, at: self._keep(columns, at, PacketRole.STRANGE, None), expected=connects
        )

    def fits(self, columns: Columns) -> bool:
        """Whether these may be packets of the target."""
        return columns.protocol == (TCP if self.target.protocol is Protocol.TCP else UDP) and columns.family == family(
            self.target.address
        )

    @property
    def has_late(self) -> bool:
        """Whether a copy came to a port that was reported as not seen."""
        return self._reported is not None and bool((self.seen[~self._reported[: len(self.seen)]]).any())

    def take(self, columns: Columns) -> Mask:
        """Take the copies among packets that came in; which they were."""
        used = np.zeros(len(columns.rows), bool)
        places = self.place[columns.dport]
        meant = self.concerns(columns)
        for rival in self._rivals:  # behind NAT nobody can say, and then it counts for each: a leak must not be missed
            meant &= columns.source != rival
        candidates = np.flatnonzero(meant)
        while len(candidates):
            some = columns.take(candidates)
            left = np.ones(len(candidates), bool)
            for copy in tuple(self._tokens):
                which = left & self._matches(some, places[candidates], copy)
                if which.any():
                    self._note(some.take(which), places[candidates[which]], copy)
                    left &= ~which
            used[candidates[~left]] = True
            candidates = candidates[left]
            samples = candidates[:: len(candidates) // SAMPLES + 1]
            if not any(
                self._learn(columns.take(samples[n : n + 1]), int(places[samples[n]])) for n in range(len(samples))
            ):
                break
        return used

    def concerns(self, columns: Columns) -> Mask:
        """Which packets go to a port of the target, whatever they carry."""
        return np.asarray((self.place[columns.dport] >= 0) & (columns.destination == self._packed))

    def answers(self, columns: Columns) -> Mask:
        """Take the host's answers among packets that went out; which they were."""
        ours = np.zeros(len(columns.rows), bool)
        if not len(self.seen) or not len(ours):
            return ours
        places = self.place[columns.sport]
        ours |= (places >= 0) & (columns.source == self._packed) & (self.seen[places] != 0)
        ours &= columns.dport == self._peer_port[places]
        if columns.protocol == TCP:
            flags = columns.flags
            ours &= ((flags & RST) != 0) | ((flags & (SYN | ACK)) == SYN | ACK)
        if ours.any():
            to = columns.destination
            for number, source in enumerate(self._packed_sources):
                which = ours & (to == source) & (self.came_from[places] == number)
                self.answered[places[which]] = True
            self._keep(columns.take(ours), places[ours], PacketRole.ANSWERED, None)
        return ours

    def note(self, port: int, copy: int, source: str, sport: int, hops: int, as_it_came: Look) -> None:
        """Take one copy that was read by itself; one that was a control (copy 64 and up) counts as well."""
        if self._peer(source) is None:
            self.sources.append(source)
            self._packed_sources.append(packed(source))
        self._fill()
        place = self.place[port]
        self.seen[place] |= bit(copy if copy < CELL_COPIES else 0)
        self.hops[place], self._peer_port[place] = hops, sport
        self._look[place], self._mss[place] = as_code(as_it_came)
        self.came_from[place] = self._peer(source) or 0

    def answer(self, port: int, peer: str, peer_port: int) -> None:
        """The host answered, which was read by itself."""
        place = int(self.place[port])
        if len(self.seen) and place >= 0 and self.seen[place] and self._peer_port[place] == peer_port:
            self.answered[place] |= self._peer(peer) == self.came_from[place]

    def rows(self) -> Iterator[ArrivalRow]:
        """Runs of ports at which the same was seen; of a reported round the late ones, each once."""
        seen = self.seen
        if self._reported is not None and len(seen):
            seen = np.where(self._reported, np.uint64(0), seen)
            self._reported |= seen != 0
        yield from self._rows(seen)

    def settle(self) -> None:
        """The round is reported: keep what corrects it, and little memory."""
        self._reported = self.seen != 0 if self._reported is None else self._reported
        self._tokens.clear()
        self.connectors.forget()
        self._allocate(0)

    def _rows(self, seen: NDArray[np.uint64]) -> Iterator[ArrivalRow]:
        there = np.flatnonzero(seen)
        if not len(there):
            return
        masks = seen[there]
        last = np.zeros(len(there), np.uint8)
        for copy in range(CELL_COPIES):
            last[masks >> np.uint64(copy) != 0] = copy
        keys = self.hops[there].astype(np.int64)
        for part in (self.came_from[there], self.answered[there], np.bitwise_count(masks), last, self._look[there]):
            keys = keys * 256 + part
        keys = keys * 65536 + self._mss[there]  # 64 bits are filled: hops are fewer than 256
        _, firsts, which = np.unique(keys, return_index=True, return_inverse=True)
        for number, first in enumerate(firsts):
            place = there[first]
            came = of_code(int(self._look[place]), int(self._mss[place]))
            yield ArrivalRow(
                target=self.target.id,
                address=self.target.address,
                protocol=self.target.protocol,
                ports=port_set(self.numbers[there[which == number]]),
                copies=int(masks[first]).bit_count(),
                last_copy=int(last[first]),
                answered=bool(self.answered[place]),
                came_from=self.sources[self.came_from[place]],
                hops=int(self.hops[place]),
                dscp=came.dscp,
                mss=came.mss,
                altered=came.altered,
            )

    def _matches(self, columns: Columns, places: Places, copy: int) -> Mask:
        wanted = self._tokens[copy][places]
        if columns.protocol != TCP:
            return np.asarray(columns.bytes_at(8, TOKEN) == wanted.view(f"V{TOKEN}")[:, 0])
        first = columns.bytes_at(4, 4) == np.ascontiguousarray(wanted[:, :4]).view("V4")[:, 0]
        stamp = columns.bytes_at(TIMESTAMP, 4) == np.ascontiguousarray(wanted[:, 4:]).view("V4")[:, 0]
        return np.asarray(first | (stamp & (columns.header == OUR_HEADER)))

    def _note(self, columns: Columns, places: Places, copy: int) -> None:
        self._fill()
        self._keep(columns, places, PacketRole.ARRIVED, copy)
        self.seen[places] |= bit(copy)
        self.hops[places], self._peer_port[places] = hops_of(columns.ttl), columns.sport
        self._look[places], self._mss[places] = looks(columns, self._tokens[copy][places])
        came = columns.source
        for source in np.unique(came):
            if source not in self._packed_sources:
                if len(self.sources) > np.iinfo(np.uint8).max:
                    continue
                self._packed_sources.append(source)
                self.sources.append(columns.text(source))
            self.came_from[places[came == source]] = self._packed_sources.index(source)

    def _keep(self, columns: Columns, places: Places, what: PacketRole, copy: int | None) -> None:
        some = self._sample.pick(places)
        if len(some):
            ports = self.numbers[places[some]].tolist()
            self._kept.rows(columns.batch, columns.rows[some], self.target.id, ports, what, copy)

    def _peer(self, source: str) -> int | None:
        return self.sources.index(source) if source in self.sources else None

    def _fill(self) -> None:
        if not len(self.seen):
            self._allocate(len(self.numbers))

    def _allocate(self, count: int) -> None:
        self.seen = np.zeros(count, np.uint64)
        self.answered = np.zeros(count, bool)
        self.came_from = np.zeros(count, np.uint8)  # place in `sources`
        self.hops = np.zeros(count, np.int16)
        self._look = np.zeros(count, np.uint8)
        self._mss = np.zeros(count, np.uint16)
        self._peer_port = np.zeros(count, np.uint16)  # of the newest copy: where an answer would go

    def _learn(self, columns: Columns, place: int) -> bool:
        """Make the tokens of the copy that this packet is; False when it is none, or one whose tokens are at hand."""
        port = int(self.numbers[place])
        for copy in range(CELL_COPIES):
            if copy in self._tokens:
                continue
            tok = token(self._key, self.target.address, self.target.protocol, port, copy)
            if columns.carries(tok):
                made = tokens(self._key, self.target.address, self.target.protocol, copy, self.ports)
                while len(self._tokens) >= KEPT_TOKENS:
                    del self._tokens[next(iter(self._tokens))]
                self._tokens[copy] = np.frombuffer(made, np.uint8).reshape(-1, TOKEN)
                return True
        return False


def bit(copy: int) -> np.uint64:
    """The mask of one copy."""
    return np.uint64(1 << copy)
