"""The sweeps that this host is the target of: their packets are taken many at a time, all others are left."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from probes.arrivals import Arrivals
from probes.capture import Batch
from probes.columns import Columns, split
from probes.wide import Wide
from reachability.vocabulary import Protocol


class Swept:
    """A reader of the capture. `took` hears of every lot of copies that was taken."""

    def __init__(self, took: Callable[[Arrivals, Wide, Columns], None]) -> None:
        self._took = took
        self._loopback = socket.if_nametoindex("lo")
        self._wides: list[tuple[Arrivals, Wide, bool]] = []

    def watch(self, endpoints: Mapping[tuple[str, Protocol], Iterable[Arrivals]]) -> None:
        """Which rounds listen at which endpoint, from now on."""
        self._wides = []
        for (address, protocol), listening in endpoints.items():
            rounds = list(listening)
            self._wides += [
                (arrivals, wide, len(rounds) == 1)
                for arrivals in rounds
                for wide in arrivals.wides.values()
                if (wide.target.address, wide.target.protocol) == (address, protocol)
            ]

    def read(self, batch: Batch) -> NDArray[np.bool_]:
        """Which packets were used up."""
        used = np.zeros(len(batch), bool)
        if not self._wides:
            return used
        for columns in split(batch):
            wides = [entry for entry in self._wides if entry[1].fits(columns)]
            if not wides:
                continue
            came = columns.take(columns.to_host & columns.opens & (columns.interface != self._loopback))
            went = columns.take(columns.outgoing)
            for arrivals, wide, alone in wides:
                taken = wide.take(came)
                if taken.any():
                    used[came.rows[taken]] = True
                    self._took(arrivals, wide, came.take(taken))
                    came = came.take(~taken)
                if alone and arrivals.flows_lost:  # so many strange packets that one more tells nothing
                    strange = wide.concerns(came)
                    used[came.rows[strange]] = True
                    came = came.take(~strange)
                answers = wide.answers(went)
                if answers.any():
                    used[went.rows[answers]] = True
                    went = went.take(~answers)
        return used
