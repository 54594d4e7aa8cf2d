"""The MQTT topics: `segwatch/v1/<environment>/<agent>/up/<channel>` is the agent's, `…/down/…` the coordinator's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ROOT = "segwatch/v1"
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")  # neither dot nor space: brokers alter the one and choke on the other


class UpChannel(StrEnum):
    """What an agent writes."""

    STATUS = "status"  # retained, with a last will
    OBSERVATIONS = "observations"
    ROUND = "round"


class DownChannel(StrEnum):
    """What the coordinator writes."""

    PLAN = "plan"
    ROUND = "round"
    ACK = "ack"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """Where a message came from, as its topic says; the broker's ACL holds an agent to its own."""

    environment: str
    agent: str
    channel: UpChannel


def up(environment: str, agent: str, channel: UpChannel) -> str:
    """The topic that the agent publishes to; ValueError for a name that no topic may hold."""
    return f"{_subtree(environment, agent)}/up/{channel.value}"


def down(environment: str, agent: str, channel: DownChannel) -> str:
    """The topic that the agent subscribes to."""
    return f"{_subtree(environment, agent)}/down/{channel.value}"


def all_down(environment: str, agent: str) -> tuple[str, ...]:
    """Every topic that the agent subscribes to: exact ones, a wildcard costs NATS two consumers."""
    return tuple(down(environment, agent, channel) for channel in DownChannel)


def all_up() -> tuple[str, ...]:
    """What the coordinator subscribes to."""
    return tuple(f"{ROOT}/+/+/up/{channel.value}" for channel in UpChannel)


def parse_up(topic: str) -> UpTopic | None:
    """Read an `up` topic; None when it is not one."""
    parts = topic.split("/")
    match parts:
        case ["segwatch", "v1", environment, agent, "up", channel] if NAME.match(environment) and NAME.match(agent):
            if channel in set(UpChannel):
                return UpTopic(environment, agent, UpChannel(channel))
    return None


def _subtree(environment: str, agent: str) -> str:
    for name in (environment, agent):
        if not NAME.match(name):
            msg = f"'{name}' cannot stand in a topic: a name is a lower-case letter, then letters, digits and dashes"
            raise ValueError(msg)
    return f"{ROOT}/{environment}/{agent}"
