"""The part of `GET /api/v1/status` that is about the coordinator itself."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.broker.capabilities import Lack
from coordinator.json_types import Body, iso
from coordinator.messaging.floods import Floods
from coordinator.rounds.brake import Halt
from coordinator.settings import Settings
from coordinator.topology.reload import Watch
from wire.messages import VERSION
from wire.mqtt import Link
from wire.refusals import Refusals


def status_of(
    settings: Settings,
    *,
    started: float,
    problem: str,
    watch: Watch,
    link: Link,
    lacks: Sequence[Lack] | None,
    halt: Halt | None,
    floods: Floods,
    refusals: Refusals,
) -> Body:
    """Topology file, store, broker, and what is held back.

    Args:
        settings: of the coordinator.
        started: epoch seconds.
        problem: why the store cannot be written, "" when it can.
        watch: of the topology file.
        link: to the broker.
        lacks: what the broker cannot do; None until that was tried.
        halt: why all probing is stopped.
        floods: who sends more than an agent may.
        refusals: messages that were not taken.
    """
    refused, web = watch.refused, settings.web
    return {
        "version": VERSION,
        "started": iso(started),
        "topology_loaded": iso(watch.loaded_at),
        "topology_refused": {"at": iso(refused.at), "errors": list(refused.errors)} if refused else None,
        "store": {"problem": problem or None},
        "broker": {
            "kind": "external" if settings.broker else "embedded",
            "connected": link.connected,
            "problem": link.problem or None,
            "lacks": None if lacks is None else [{"name": lack.name, "text": lack.text} for lack in lacks],
        },
        "stopped": halt.reason if halt else None,
        "stopped_at": iso(halt.at) if halt else None,
        "stopped_by": halt.by or None if halt else None,
        "floods": floods.body(),
        "refused": {"count": refusals.count, "newest": list(refusals.newest)},
        "web": f"http://{f'[{web.dial}]' if ':' in web.dial else web.dial}:{web.port}" if web else None,
    }
