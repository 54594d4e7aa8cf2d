"""The agent as a process: signals, and what the service manager is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.config import AgentConfig, ConfigError, load
from agent.daemon import Daemon
from agent.journal import Log
from wire.process.notify import Notifier
from wire.process.progress import keep_telling

IN_FORCE = ("allow", "deny", "rate_pps", "flows", "blackout")  # what a reload changes


class Reload:
    """Reads the configuration again when asked to (SIGHUP). One that cannot be used is refused, the old one stays in force."""

    def __init__(self, take: Callable[[AgentConfig], None], config: AgentConfig, state_dir: Path, log: Log) -> None:
        self._take, self._config, self._state_dir, self._log = take, config, state_dir, log

    def __call__(self) -> None:
        """Take what a running agent can take, and say what it cannot."""
        try:
            new = load(self._state_dir)
        except (ConfigError, OSError) as error:
            self._log.error("configuration refused, the old one stays in force", problem=str(error))
            return
        changed = [name for name in new.__struct_fields__ if getattr(new, name) != getattr(self._config, name)]
        if kept := [name for name in changed if name not in IN_FORCE]:
            self._log.warning("needs a restart, the old value stays in force", changed=kept)
        self._config = msgspec.structs.replace(self._config, **{name: getattr(new, name) for name in IN_FORCE})
        self._take(self._config)
        self._log.info("configuration loaded", changed=[name for name in changed if name in IN_FORCE])


async def serve(
    config: AgentConfig, state_dir: Path, log: Log, notifier: Notifier, *, raw_lacks: str | None = None
) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    daemon = Daemon(config, state_dir, log, raw_lacks=raw_lacks)
    reload = Reload(daemon.take, config, state_dir, log)

    def stop() -> None:
        notifier.stopping()
        daemon.stop()

    def hang_up() -> None:
        notifier.reloading()
        reload()
        notifier.ready(daemon.in_words())

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)

    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell(daemon, notifier, log), name="service manager")
        await daemon.run()
        telling.cancel()


async def _tell(daemon: Daemon, notifier: Notifier, log: Log) -> None:
    await daemon.serving.wait()
    notifier.ready(daemon.in_words())
    await keep_telling(
        notifier,
        daemon.in_words,
        daemon.progress.stalled,
        lambda hangs: log.error("the watchdog is not answered", problem=hangs),
    )
