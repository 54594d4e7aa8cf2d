"""One literal table lists every target."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import agent, coordinator, enrolment, kernel, messages, packets, replies, reports, requests

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *messages.TARGETS,
        *packets.TARGETS,
        *kernel.TARGETS,
        *replies.TARGETS,
        *coordinator.TARGETS,
        *requests.TARGETS,
        *reports.TARGETS,
        *agent.TARGETS,
        *enrolment.TARGETS,
    )
}


def forget() -> None:
    """Remove what targets left in files."""
    agent.forget()
    reports.forget()
    enrolment.forget()
