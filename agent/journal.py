"""The daemon's log, on stderr: one line per event, JSON for machines or plain for a terminal."""

from __future__ import annotations

import sys

from wire.process.console import cleaned
from wire.process.slim import without

# structlog's console renderer imports rich when it is installed: 10 MiB that an idle agent must not hold.
with without("rich"):
    import structlog
    from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

__all__ = ["Log", "bind_contextvars", "bound_contextvars", "clear_contextvars", "open_log"]
Log = structlog.typing.FilteringBoundLogger


def open_log(name: str, *, as_json: bool, verbose: bool = False) -> Log:
    """A logger that puts the agent's name to every line."""
    shown: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if not as_json:
        shown = [cleaned, structlog.dev.ConsoleRenderer(colors=False)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the round that a line belongs to
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if verbose else "info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log: Log = structlog.get_logger(agent=name)
    return log
