"""Agents as the coordinator knows them, by what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reachability.topology import Topology
from wire.messages import Status
from wire.topics import UpTopic

MOST_ADDRESSES = 1024  # of a host; each is one that everybody probes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """An agent as the coordinator knows it; one that was never heard of has only its name and environment."""

    name: str
    environment: str
    online: bool = False
    addresses: tuple[str, ...] = ()
    version: str = ""
    raw: bool = False  # can send and capture raw packets
    lacks: str = ""  # why not, in words
    rate_pps: int = 0
    flows: int = 0  # its host's own bound; 0: none
    spooled: int = 0
    untold: int = 0  # batches that it has lost and the store does not count yet
    last_seen: float = 0.0  # epoch seconds by the coordinator's clock; 0: never
    last_round: float = 0.0  # when its last round as a source was concluded
    refused: tuple[str, ...] = ()  # the newest of what it did not obey, in words
    refusals: int = 0  # how many there were since its start
    problem: str = ""  # why what comes from it is not taken, in words
    traces: bool = False  # its version knows rounds of kind trace
    instance: str = ""  # new at each of its starts
    number: int = 0  # of its newest status
    challenge: bytes = b""  # what messages to it have to repeat
    clock_skew_s: float | None = None  # its clock less the coordinator's, when its newest status came in
    certificate: tuple[float, float] = (0.0, 0.0)  # the one that it used last: from when until when; 0: not known
    ca: str = ""  # which CA that one is of, and which ones the agent trusts, see `wire.certificates`; "": not known
    trust: str = ""
    rotation: str = ""  # what it lacks to have come over to a new CA, see `coordinator.broker.rotation`
    names_apart: tuple[str, ...] = ()  # DNS names that lead elsewhere for it than for others, in words
    revoked: bool = False  # its certificates are, and it has come with no newer one yet
    two_holders: bool = False  # more than one process lives under its name
    connections: int = 0  # of this process to the broker; 0: its version does not say
    stopped: int = (
        -1
    )  # sequence of the newest stop of which all its probing has ended; 0: none; -1: its version does not say
    not_now: str = ""  # why it sends nothing just now, in words

    @property
    def state(self) -> str:
        """In a word: connected, lost, missing (never heard of) or revoked."""
        if self.revoked:
            return "revoked"
        return "connected" if self.online else ("lost" if self.last_seen else "missing")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a message of an agent: `problem` says why it was not taken."""

    changed: bool = False
    problem: str = ""


def refusal(topic: UpTopic, status: Status, topology: Topology, generations: Mapping[str, int]) -> str:
    """Why a status is not taken: topic, words and topology do not agree, or its certificate is revoked; "" when it is."""
    declared = topology.agents().get(topic.agent)
    if declared is None:
        return f"agent '{topic.agent}' is not in {topology.file}"
    if (status.name, status.environment) != (topic.agent, topic.environment) or declared != topic.environment:
        return f"'{topic.agent}' of '{topic.environment}' claims to be '{status.name}' of '{status.environment}'"
    if 0 <= status.generation < generations.get(topic.agent, 0):
        return f"'{topic.agent}' uses a certificate that is revoked"
    if len(status.addresses) > MOST_ADDRESSES:
        return f"'{topic.agent}' says that it has {len(status.addresses)} addresses; the most of a host is {MOST_ADDRESSES}"
    return ""


@dataclass(frozen=True, slots=True)
class Used:
    """The certificate that an agent said to use."""

    starts: float = 0.0
    ends: float = 0.0
    generation: int = 0


def said(known: AgentState, status: Status, now: float, *, retained: bool, two_holders: bool) -> AgentState:
    """What is known of an agent after a status that came at `now`, epoch seconds."""
    return replace(
        known,
        online=status.online,
        addresses=status.addresses or known.addresses,
        version=status.version or known.version,
        raw=status.raw,
        lacks=status.lacks,
        rate_pps=status.rate_pps,
        flows=status.flows,
        spooled=status.spooled,
        untold=status.untold,
        refused=status.refused,
        refusals=status.refusals,
        problem="",
        traces=status.traces,
        instance=status.instance,
        number=status.number,
        challenge=status.challenge or known.challenge,
        # What was retained, or is a last will, was written long before.
        clock_skew_s=known.clock_skew_s if retained or not status.online else status.sent_at - now,
        certificate=(status.certificate_from, status.certificate_until)
        if status.certificate_until
        else known.certificate,
        ca=status.ca or known.ca,
        trust=status.trust or known.trust,
        revoked=known.revoked and not status.online,
        two_holders=two_holders,
        connections=status.connections,
        stopped=status.stopped,
        not_now=status.not_now,
        last_seen=known.last_seen if retained and known.last_seen else now,
    )


def is_old_news(status: Status, known: AgentState) -> bool:
    """Whether something newer is known: brokers deliver again, and deliver the last will of an earlier start late."""
    if status.instance != known.instance:
        return known.online and bool(known.instance) and not status.online
    return status.online and status.number < known.number


def unheard(name: str, environment: str, used: Used, generation: int) -> AgentState:
    """One that nothing was heard of yet; its certificates count from a generation on."""
    return AgentState(
        name=name, environment=environment, certificate=(used.starts, used.ends), revoked=used.generation < generation
    )


def shifted(agent: AgentState, seconds: float) -> AgentState:
    """The same, after the clock was set by this much; never stays never."""
    return replace(
        agent,
        last_seen=agent.last_seen and agent.last_seen + seconds,
        last_round=agent.last_round and agent.last_round + seconds,
    )
