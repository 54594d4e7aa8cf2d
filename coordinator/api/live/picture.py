"""All that the page shows, part by part, and since which version each part is as it is.

Looked at while somebody asks, and made anew only where something that it comes from is another: cells are many.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from coordinator.api import views
from coordinator.api.errors import encoded
from coordinator.api.responses.status import Status
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState

EVERY_S = 0.5
AGES_S = 5.0  # cells grow stale by time alone; the coordinator itself looks as often
_NUMBER = re.compile(r"[0-9]{1,15}")
_SHARE = 0.25  # of the coordinator's time, at most, goes into pictures

Body = msgspec.Struct | tuple[msgspec.Struct, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A body of the API as JSON; `mark` is what it is told apart by, `version` since when it is so."""

    data: bytes
    mark: bytes
    version: int


class Picture:
    """The bodies of `status`, `matrix`, `coverage` and `findings`, as they are now."""

    def __init__(
        self,
        seen: Callable[[], object],
        made: Callable[[], Mapping[str, tuple[Body, Body]]],
        steady: Callable[[], float],
    ) -> None:
        """`seen` is equal while nothing has changed; `made` has each part, and it without what changes all the time."""
        self._seen, self._made, self._steady = seen, made, steady
        self._of: object = None
        self._next_at = 0.0
        self.parts: dict[str, Part] = {}
        self.version = 0
        self.name = secrets.token_hex(4)  # of this process: versions of another say nothing

    def look(self) -> None:
        """Bring it up to date, twice a second at most."""
        began = self._steady()
        if began < self._next_at:
            return
        self._next_at = began + EVERY_S
        if (seen := self._seen()) == self._of:
            return
        self._of = seen
        parts = {name: (encoded(body), _mark(told)) for name, (body, told) in self._made().items()}
        changed = [name for name, (_, mark) in parts.items() if name not in self.parts or self.parts[name].mark != mark]
        self.version += bool(changed)
        self.parts |= {name: Part(*parts[name], self.version) for name in changed}
        ended = self._steady()
        self._next_at = max(self._next_at, ended + (ended - began) * (1 / _SHARE - 1))

    def since(self, last: str) -> list[tuple[str, bytes]]:
        """(part, JSON) of what has changed since a Last-Event-ID of ours; all of it since any other."""
        name, _, number = last.partition("-")
        known = name == self.name and _NUMBER.fullmatch(number)
        version = int(number) if known else -1
        return [(part, held.data) for part, held in self.parts.items() if not held.version <= version <= self.version]

    @property
    def id(self) -> str:
        """What is to be sent as the id of what `since` gives."""
        return f"{self.name}-{self.version}"


def _mark(body: Body) -> bytes:
    return hashlib.sha256(encoded(body)).digest()


def picture_of(
    estate: Estate, status: Callable[[], Status], more: Callable[[], object], steady: Callable[[], float]
) -> Picture:
    """Of a coordinator; `more` is what its status says beside the estate."""

    def seen() -> object:
        agents = tuple(map(_heard, estate.agents.values()))
        return (
            id(estate.topology),
            id(estate.plan),
            estate.book.findings,
            agents,
            estate.problem,
            estate.clock() // AGES_S,
            more(),
        )

    def made() -> Mapping[str, tuple[Body, Body]]:
        topology, cells, stands = estate.topology, estate.cells(), status()
        rest: dict[str, Body] = {
            "matrix": views.matrix(topology, cells),
            "coverage": views.coverage_body(topology, cells, estate.losses),
            "findings": views.findings(topology, estate.book.findings),
        }
        return {
            "status": (stands, _without_ages(stands, estate.agents.values())),
            **{name: (b, b) for name, b in rest.items()},
        }

    return Picture(seen, made, steady)


def _heard(agent: AgentState) -> object:
    """What shows that there is something new of an agent: not each sign of life."""
    return (
        agent.state, agent.last_round, agent.spooled, agent.untold, agent.problem, agent.lacks, agent.refusals, agent.not_now,
        agent.stopped, agent.two_holders, agent.names_apart, agent.rate_pps, agent.certificate, agent.version,
    )  # fmt: skip


class _Marked(msgspec.Struct, frozen=True):
    status: Status
    rounds: tuple[float, ...]  # an age begins anew with each


def _without_ages(status: Status, agents: Iterable[AgentState]) -> _Marked:
    """A status without what is another at each moment: the page counts ages by itself."""
    replace = msgspec.structs.replace
    still = tuple(replace(agent, age_s=None, last_seen=None, clock_skew_s=None) for agent in status.agents)
    floods = tuple(replace(flood, out_for_s=None) for flood in status.floods)
    return _Marked(replace(status, now=None, agents=still, floods=floods), tuple(agent.last_round for agent in agents))
