"""The coordinator as a process: it gives up what it need not hold, and runs until a signal ends it."""

from __future__ import annotations

import asyncio
import signal

import structlog

from coordinator.daemon import Daemon
from coordinator.sentence import sentence
from coordinator.settings import Settings
from reachability.topology import Topology
from wire.keyfiles import keep_private
from wire.process.notify import Notifier
from wire.process.privileges import Capability, give_up, hand_on, harden, mask
from wire.process.progress import keep_telling

FIRST_FREE_PORT = 1024

log = structlog.get_logger("coordinator")


def _settle(settings: Settings) -> tuple[str, ...]:
    """Give up every privilege, but that of low ports where one is asked for; its broker gets no other. What failed, in words.

    What it writes from then on is its user's alone.
    """
    keep_private(settings.state_dir)
    ports = (settings.listen.port, settings.web.port if settings.web else settings.listen.port)
    kept = mask(Capability.NET_BIND_SERVICE) if min(ports) < FIRST_FREE_PORT else 0
    notes = (*give_up(effective=kept, inherited=kept), *harden())
    hand_on(kept)
    return notes


async def serve(settings: Settings, topology: Topology) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP loads the topology again."""
    notifier = Notifier.taken()
    for note in _settle(settings):
        log.warning("privileges", note=note)
    daemon = Daemon(settings, topology)

    def stop() -> None:
        notifier.stopping()
        daemon.stop()

    def hang_up() -> None:
        notifier.reloading()
        daemon.watch.look(lambda: notifier.ready(in_words(daemon)))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell(daemon, notifier), name="service manager")
        await daemon.run()
        telling.cancel()


def in_words(daemon: Daemon) -> str:
    """How it is, in one sentence."""
    stopped, broker, store = daemon.engine.stopped, daemon.link.problem, daemon.estate.problem
    problems = (
        f"all probing is stopped: {stopped}" if stopped else "",
        f"without its broker: {broker}" if broker else "",
        f"the store cannot be written: {store}" if store else "",
        "the topology file is refused, the old one stays in force" if daemon.watch.refused else "",
    )
    return sentence(daemon.estate, "; ".join(filter(None, problems)))


async def _tell(daemon: Daemon, notifier: Notifier) -> None:
    await daemon.serving.wait()
    notifier.ready(in_words(daemon))
    await keep_telling(
        notifier,
        lambda: in_words(daemon),
        lambda: daemon.progress.stalled() or daemon.engine.stalled(),
        lambda hangs: log.error("the watchdog is not answered", problem=hangs),
    )
