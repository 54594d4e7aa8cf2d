"""One literal table lists every target."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import agent, coordinator, messages, packets, replies, reports

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *messages.TARGETS,
        *packets.TARGETS,
        *replies.TARGETS,
        *coordinator.TARGETS,
        *reports.TARGETS,
        *agent.TARGETS,
    )
}


def forget() -> None:
    """Remove what targets left in files."""
    agent.forget()
    reports.forget()
