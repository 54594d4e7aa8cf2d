"""The sweeps that this host is the target of: their packets are taken many at a time, all others are passed over."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.packets.columns import Columns, split
from probes.packets.rx_ring import Batch
from probes.packets.token_index import Endpoint
from probes.witness.arrivals import Arrivals
from probes.witness.sweep_arrivals import SweepArrivals


class Group(NamedTuple):
    """The sweeps of one round at one endpoint."""

    arrivals: Arrivals
    sweeps: list[SweepArrivals]
    alone: bool  # no other round listens there


class SweepReader:
    """A reader of the capture. `took` hears of every lot of copies that was taken."""

    def __init__(self, took: Callable[[Arrivals, SweepArrivals, Columns], None]) -> None:
        self._took = took
        self._loopback = socket.if_nametoindex("lo")
        self._groups: list[Group] = []

    def watch(self, endpoints: Mapping[Endpoint, Iterable[Arrivals]]) -> None:
        """Which rounds listen at which endpoint, from now on."""
        self._groups = []
        for endpoint, listening in endpoints.items():
            rounds = list(listening)
            for arrivals in rounds:
                # An agent with several addresses probes the same endpoint from each: the same tokens, several targets.
                sweeps = [s for s in arrivals.sweeps.values() if (s.target.address, s.target.protocol) == endpoint]
                if sweeps:
                    self._groups.append(Group(arrivals, sweeps, len(rounds) == 1))

    def read(self, batch: Batch) -> NDArray[np.bool_]:
        """Which packets were used up."""
        used = np.zeros(len(batch), bool)
        if not self._groups:
            return used
        for columns in split(batch):
            groups = [group for group in self._groups if group.sweeps[0].fits(columns)]
            if not groups:
                continue
            came = columns.take(columns.to_host & columns.opens & (columns.interface != self._loopback))
            went = columns.take(columns.outgoing)
            # What a token tells comes first: another round's packets may well leave from the ports that this one connects from.
            for arrivals, sweeps, _ in groups:
                taken = _any([sweep.take(came) for sweep in sweeps])
                if taken.any():
                    used[came.rows[taken]] = True
                    self._took(arrivals, sweeps[0], came.take(taken))
                    came = came.take(~taken)
                answers = _any([sweep.answers(went) for sweep in sweeps])
                used[went.rows[answers]] = True
                went = went.take(~answers)
            for arrivals, sweeps, alone in groups:
                if not arrivals.closed:
                    connects = sweeps[0].connectors.take(came)
                    used[came.rows[connects]] = True
                    came = came.take(~connects)
                endpoint = Endpoint(sweeps[0].target.address, sweeps[0].target.protocol)
                if alone and endpoint in arrivals.crowded:  # so many strange packets that one more tells nothing
                    strange = sweeps[0].concerns(came) & arrivals.crowded[endpoint][came.dport]
                    used[came.rows[strange]] = True
                    came = came.take(~strange)
                answers = sweeps[0].connectors.answers(went)
                used[went.rows[answers]] = True
                went = went.take(~answers)
        return used


def _any(masks: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduce(masks))
