"""The coordinator as a process: it gives up what it need not hold, and runs until a signal ends it."""

from __future__ import annotations

import asyncio
import signal

import structlog

from coordinator.daemon import Daemon
from coordinator.settings import Settings
from reachability.topology import Topology
from wire.process.privileges import Capability, give_up, hand_on, harden, mask

FIRST_FREE_PORT = 1024

log = structlog.get_logger("coordinator")


def _settle(settings: Settings) -> tuple[str, ...]:
    """Give up every privilege, but that of low ports where one is asked for; its broker gets no other. What failed, in words."""
    ports = (settings.listen.port, settings.web.port if settings.web else settings.listen.port)
    kept = mask(Capability.NET_BIND_SERVICE) if min(ports) < FIRST_FREE_PORT else 0
    notes = (*give_up(effective=kept, inherited=kept), *harden())
    hand_on(kept)
    return notes


async def serve(settings: Settings, topology: Topology) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP loads the topology again."""
    for note in _settle(settings):
        log.warning("privileges", note=note)
    daemon = Daemon(settings, topology)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.watch.look)
    await daemon.run()
