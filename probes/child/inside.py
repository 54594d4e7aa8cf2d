"""The inside controls of a packet child: each asks when its round is armed, and once more when that is over."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from probes.source.job import Job
from reachability.inside import SAMPLE
from reachability.observation import SourceReport, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.vocabulary import Protocol, Role, State
from wire.messages import Arm

MOST_ASKED = 256  # rounds
MOST_OPEN = 1024  # of one target; a proxy that answers for every port is asked for a part of them


@dataclass(slots=True)
class _Asked:
    arm: Arm
    report: SourceReport | None = None  # None: it still asks


class Insides:
    """Those of one child, which is `agent`'s. `run` does a job, `say` hands its report on."""

    def __init__(
        self, agent: str, run: Callable[[Job], Awaitable[SourceReport]], say: Callable[[SourceReport], None]
    ) -> None:
        self._agent, self._run, self._say = agent, run, say
        self._asked: dict[str, _Asked] = {}

    async def ask(self, arm: Arm) -> None:
        """Before the source's copies."""
        while len(self._asked) >= MOST_ASKED:  # nobody closes them
            del self._asked[next(iter(self._asked))]
        asked = self._asked[arm.round] = _Asked(arm)
        asked.report = await self._run(Job.inside(arm))
        self._say(asked.report)

    async def close(self, round_id: str, *, again: bool) -> None:
        """The round is over; `again`: after the source's last copy, so that what answered is asked once more.

        There is a report then whatever answered. Where the first asking still goes on, nothing is known of the time before the
        source's copies, and a second one would show nothing.
        """
        asked = self._asked.pop(round_id, None)
        if asked is None or not again:
            return
        if asked.report is None:
            self._say(self._nothing(round_id, "the first asking from inside went on when the source was done"))
        elif targets := tuple(answered(asked.arm.inside, asked.report)):
            report = await self._run(Job.inside(msgspec.structs.replace(asked.arm, inside=targets)))
            self._say(replace(report, again=True))
        else:
            self._say(self._nothing(round_id))

    def _nothing(self, round_id: str, *problems: str) -> SourceReport:
        return SourceReport(round=round_id, agent=self._agent, role=Role.INSIDE, again=True, problems=problems)


def answered(targets: tuple[Target, ...], report: SourceReport) -> Iterator[Target]:
    """What is asked again: what was open, and of the closed ports of each host, which its kernel answers for, some by chance.

    A closed UDP port controls nothing, see `reachability.verdict`.
    """
    for target in targets:
        mine = [o for o in report.observations if o.target == target.id]
        opened = PortSet.union(o.ports for o in mine if o.state is State.OPEN)
        closed = PortSet.union(o.ports for o in mine if o.state is State.CLOSED)
        if target.protocol is Protocol.UDP:
            closed = PortSet()
        ports = (
            opened & ICMP_CELL if target.protocol is Protocol.ICMP else _some(opened, MOST_OPEN) | _some(closed, SAMPLE)
        )
        if ports:
            yield replace(target, ports=ports, first=target.first & ports)


def _some(ports: PortSet, most: int) -> PortSet:
    if len(ports) <= most:
        return ports
    return PortSet.of(random.sample(list(ports), most))
