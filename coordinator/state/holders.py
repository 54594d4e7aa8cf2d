"""Which processes live under an agent's name. There may be one; a bundle that was copied to a second host makes two.

A restart is told from a copy by what comes after: an old process that has gone is not heard of again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from coordinator.state.concluding import JudgedRow
from reachability.compare import key_of
from reachability.matrix import Judged, Matrix
from reachability.plan import PlanTarget
from reachability.standing import LEANS_INSIDE
from reachability.verdict import judge
from reachability.vocabulary import Arrival, State, Unproven
from wire.messages import Status

SETTLED_S = 25.0  # an agent says how it is every 20 s: an earlier process that does not has gone
KEEP_S = 300.0  # after the last sign of a second holder
MOST = 8  # processes of one name that are remembered


@dataclass(slots=True)
class _Name:
    """What is known under one name."""

    last: str = ""  # who spoke last
    seen: dict[str, int] = field(default_factory=dict)  # process -> its newest status
    ended: set[str] = field(default_factory=set)  # who said so, or their broker, or who was silent for too long
    unsettled_until: float = 0.0
    two_until: float = 0.0


class Holders:
    """The processes under each name, by what they say of themselves."""

    def __init__(self, steady: Callable[[], float], two: Iterable[str] = ()) -> None:
        """`steady` gives seconds that never jump; `two` are names of which two holders were known before a restart."""
        self._steady = steady
        self.stored = frozenset(two)  # what is to outlive a restart
        until = steady() + KEEP_S
        self._names = {name: _Name(two_until=until) for name in self.stored}

    def heard(self, agent: str, status: Status) -> bool:
        """A status of one of them; whether it shows a second one where none was known.

        Versions that do not say which process they are tell nothing.
        """
        if not status.instance:
            return False
        name = self._names.setdefault(agent, _Name())
        before = name.seen.get(status.instance)
        if not status.online:
            if before is not None:
                name.ended.add(status.instance)
            return False
        if before is not None and status.number <= before:
            return False  # a broker delivers it again
        name.seen.pop(status.instance, None)  # the newest last
        had_ended = status.instance in name.ended
        name.ended.discard(status.instance)
        name.seen[status.instance] = status.number
        if status.instance == name.last:
            return False
        name.last = status.instance
        while len(name.seen) > MOST:
            name.ended.discard(gone := next(iter(name.seen)))
            del name.seen[gone]
        now = self._steady()
        if before is None or had_ended:
            name.unsettled_until = now + SETTLED_S
            return False
        was_one = name.two_until <= now
        name.two_until = now + KEEP_S
        return was_one

    def forget(self, agent: str) -> None:
        """Its certificates are revoked: who comes now has a new one."""
        self._names.pop(agent, None)

    def is_settled(self, agent: str) -> bool:
        """Whether it is known how many there are: not while an earlier process has neither ended nor had the time to speak."""
        name = self._names.get(agent)
        if name is None or name.seen.keys() - name.ended <= {name.last} or agent in self.two():
            return True
        if self._steady() < name.unsettled_until:
            return False
        name.ended = name.seen.keys() - {name.last}
        return True

    def two(self) -> frozenset[str]:
        """The names under which two live."""
        now = self._steady()
        return frozenset(agent for agent, name in self._names.items() if name.two_until > now)


def unproven(matrix: Matrix, plan: Iterable[PlanTarget], agent: str) -> list[JudgedRow]:
    """What stands of an agent's cells, as source, witness or inside control, with nothing proven of them any more."""
    witnessed = {key_of(target) for target in plan if target.witness == agent}
    return [
        JudgedRow(key, ports, _doubted(judged))
        for key in matrix
        for ports, judged in matrix.rows(key)
        if key.agent == agent
        or key in witnessed
        or (judged.evidence.inside_by == agent and judged.verdict.row in LEANS_INSIDE)
    ]


def _doubted(judged: Judged) -> Judged:
    evidence = replace(judged.evidence, state=State.ERROR, arrival=Arrival.NO_WITNESS, problem=Unproven.TWO_HOLDERS)
    return replace(judged, evidence=evidence, verdict=judge(evidence))
