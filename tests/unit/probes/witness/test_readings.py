"""The counters are read beside the loop while groups are awaited, and for nobody else."""

from __future__ import annotations

import threading
from itertools import count

from probes.host.deliveries import Deliveries
from probes.witness.noports import Groups, Reading
from probes.witness.readings import Readings
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol
from tests.support.waiting import HANG_S

PORTS = PortSet.of([53])
TARGET = Target(id=1, environment="prod", address="10.30.0.10", protocol=Protocol.UDP, ports=PORTS)


class Counters:
    """A clock that goes on by a second each time the counters are read, and when that was done often enough."""

    def __init__(self) -> None:
        self._times, self.often = count(1), threading.Event()

    def take(self) -> Reading:
        at = next(self._times)
        if at == 5:
            self.often.set()
        return Reading(at, at, {4: Deliveries(), 6: Deliveries()})


def times(groups: Groups) -> list[float]:
    return [reading.began for reading in groups._readings]


def groups() -> Groups:
    return Groups([(1, PORTS)], (TARGET,), Reading(0, 0, {}))


def test_they_are_read_whatever_the_loop_does_and_while_they_are_awaited_alone() -> None:
    counters, first = Counters(), groups()
    readings = Readings(counters.take)
    readings.start()
    readings.watch([])
    assert not counters.often.is_set()
    readings.watch([first])
    assert counters.often.wait(HANG_S), "nothing else runs in this thread meanwhile"
    readings.watch([])
    readings.read()  # waits for one that is under way
    seen = times(first)
    assert seen == sorted(seen)
    assert len(seen) >= 5
    readings.read()
    assert times(first) == seen


def test_one_that_comes_while_they_are_read_has_no_reading_from_before_it_came() -> None:
    counters, first, second = Counters(), groups(), groups()

    def take() -> Reading:
        readings.watch([first, second])
        return counters.take()

    readings = Readings(take)
    readings.watch([first])
    readings.read()
    assert (times(first), times(second)) == ([0, 1], [0])
    readings.read()
    assert (times(first), times(second)) == ([0, 1, 2], [0, 2])
