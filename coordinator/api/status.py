"""What `GET /api/v1/status` answers: what stands, and how the coordinator itself is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from coordinator.api.agents import agents_body, certificate_body
from coordinator.api.responses.status import (
    BrokerLack,
    BrokerState,
    Flood,
    Refused,
    RefusedTopology,
    Standing,
    Status,
    StoreState,
    TopologyInForce,
)
from coordinator.api.views import results
from coordinator.broker.capabilities import Lack
from coordinator.json_types import iso
from coordinator.messaging.floods import Floods
from coordinator.rounds.brake import Brake
from coordinator.settings import Settings
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.store import Losses
from coordinator.topology.reload import Watch
from reachability.compare import Cell
from reachability.coverage import total
from reachability.finding import Finding
from reachability.topology import Topology
from reachability.vocabulary import Result
from wire.messages import VERSION
from wire.mqtt import Link
from wire.refusals import Refusals


def standing(
    topology: Topology,
    agents: Iterable[AgentState],
    cells: Sequence[Cell],
    found: Iterable[Finding],
    *,
    now: float = 0.0,
    losses: Mapping[str, Losses] | None = None,
    confirmed: Callable[[AgentState], str] = lambda _: "",
) -> Standing:
    """What the dashboard's first line needs, at `now` in epoch seconds; `status_of` adds the coordinator itself."""
    entry = total(cells)
    return Standing(
        now=iso(now),
        topology=TopologyInForce(file=topology.file, digest=topology.digest, environments=tuple(topology.environments)),
        agents=agents_body(agents, now, losses, confirmed),
        results=results(entry),
        coverage=round(entry.ratio, 6),
        findings=sum(finding.live for finding in found),
        last_cycle=iso(max((cell.judged.observed_at for cell in cells if cell.judged), default=0.0)),
        oldest_proof=iso(
            min((cell.judged.observed_at for cell in cells if cell.judged and cell.result is Result.PASS), default=0.0)
        ),
    )


def status_of(
    estate: Estate,
    settings: Settings,
    *,
    watch: Watch,
    link: Link,
    lacks: Sequence[Lack] | None,
    brake: Brake,
    floods: Floods,
    refusals: Refusals,
    certificates: Mapping[str, tuple[float, float]],
) -> Status:
    """Topology file, store, broker, and what is held back, beside what stands.

    Args:
        estate: at this moment.
        settings: of the coordinator.
        watch: of the topology file.
        link: to the broker.
        lacks: what the broker cannot do; None until that was tried.
        brake: whether all probing is stopped, and who has confirmed it.
        floods: who sends more than an agent may.
        refusals: messages that were not taken.
        certificates: of its own, from when until when each is valid.
    """
    refused, web, halt = watch.refused, settings.web, brake.halt
    stands = standing(
        estate.topology,
        estate.agents.values(),
        estate.cells(),
        estate.book.findings,
        now=estate.clock(),
        losses=estate.losses,
        confirmed=brake.confirmed,
    )
    return Status(
        **msgspec.structs.asdict(stands),
        version=VERSION,
        started=iso(estate.started),
        topology_loaded=iso(watch.loaded_at),
        topology_refused=RefusedTopology(at=iso(refused.at), errors=tuple(refused.errors)) if refused else None,
        store=StoreState(problem=estate.problem or None),
        broker=BrokerState(
            kind="external" if settings.broker else "embedded",
            connected=link.connected,
            problem=link.problem or None,
            lacks=None if lacks is None else tuple(BrokerLack(name=lack.name, text=lack.text) for lack in lacks),
        ),
        stopped=halt.reason if halt else None,
        stopped_at=iso(halt.at) if halt else None,
        stopped_by=halt.by or None if halt else None,
        floods=tuple(Flood(**flood) for flood in floods.body()),
        refused=Refused(count=refusals.count, newest=tuple(refusals.newest)),
        certificates={
            holder: body
            for holder, valid in certificates.items()
            if (body := certificate_body(valid, estate.clock())) is not None
        },
        web=f"{'https' if settings.web_cert else 'http'}://{replace(web, host=web.dial)}" if web else None,
    )
