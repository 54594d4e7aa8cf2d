"""What a pipeline knows to fail: entries with an owner and an end, compared with the cells that fail now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from reachability.fold import Kind
from reachability.ports import PortSet
from reachability.topology import Mark, PortSpec
from reachability.vocabulary import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Cells that fail: of one agent, address and protocol."""

    kind: Kind
    source: str  # environment
    agent: str
    destination: str  # environment
    address: str
    protocol: Protocol
    ports: PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Cells that are known to fail, until `expires` (an aware time). No agents: every agent of the source."""

    kind: Kind
    source: str
    destination: str
    addresses: tuple[str, ...]
    ports: PortSpec
    owner: str
    expires: datetime
    agents: tuple[str, ...] = ()
    finding: str = ""
    justification: str = ""
    mark: Mark = Mark()

    def names(self, failing: Failing) -> PortSet:
        """Those of the cells that it names, whether it has ended or not."""
        ends = (self.kind, self.source, self.destination) == (failing.kind, failing.source, failing.destination)
        if not ends or failing.address not in self.addresses or (self.agents and failing.agent not in self.agents):
            return PortSet()
        return failing.ports & self.ports.of(failing.protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Failing cells by what a baseline says of them, and the entries that name them in the order of the file."""

    known: PortSet
    ended: PortSet  # named by an entry that has ended, and by none that has not
    new: PortSet
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A whole baseline file, loaded without errors."""

    entries: tuple[Entry, ...] = ()
    file: str = "baseline.yaml"

    def hold(self, failing: Failing, now: datetime) -> Held:
        """What of the cells is known at `now`. A cell that several entries name is known while one of them lasts."""
        known, named, entries = PortSet(), PortSet(), list[Entry]()
        for entry in self.entries:
            ports = entry.names(failing)
            if not ports:
                continue
            entries.append(entry)
            named |= ports
            if entry.expires > now:
                known |= ports
        return Held(known=known, ended=named - known, new=failing.ports - named, entries=tuple(entries))


def renewed(baseline: Baseline, found: Iterable[Entry], now: datetime) -> Baseline:
    """The baseline with what fails now in it: entries that last stay as they are, those that have ended make room."""
    return Baseline((*(entry for entry in baseline.entries if entry.expires > now), *found), baseline.file)
