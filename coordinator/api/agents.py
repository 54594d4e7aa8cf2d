"""What the API says of agents: the roster, which of their reports are lost, and what names lead to for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from coordinator.api.responses import status
from coordinator.api.responses.names import Name, NameAt, Names
from coordinator.json_types import iso
from coordinator.state.estate import Estate
from coordinator.state.lookups import names_of
from coordinator.state.roster import AgentState
from coordinator.store import Gap, Losses
from reachability.observation import Lookup
from reachability.topology import Topology
from wire.certificates import ends_soon


def agents_body(
    agents: Iterable[AgentState],
    now: float,
    losses: Mapping[str, Losses] | None = None,
    confirmed: Callable[[AgentState], str] = lambda _: "",
) -> tuple[status.Agent, ...]:
    """The roster, as `status` and `verify` show it. `age_s` is how long ago its last round was concluded.

    `lost` has all that was ever lost of what the agent reported, and `untold` batches that it has just lost. `confirmed` says of an
    agent whether it has confirmed a stop, "" while there is none.
    """
    known, agents = losses or {}, tuple(agents)
    return tuple(
        status.Agent(
            name=agent.name,
            environment=agent.environment,
            state=agent.state,
            addresses=tuple(agent.addresses),
            version=agent.version or None,
            raw=agent.raw,
            lacks=agent.lacks or None,
            rate_pps=agent.rate_pps,
            spooled=agent.spooled,
            lost=losses_body(known.get(agent.name, Losses()), agent.untold),
            refused=tuple(agent.refused),
            refusals=agent.refusals,
            problem=agent.problem or _on_one_host(agent, agents) or None,
            last_seen=iso(agent.last_seen),
            clock_skew_s=None if agent.clock_skew_s is None else round(agent.clock_skew_s, 1) + 0.0,  # no -0.0
            age_s=round(max(0.0, now - agent.last_round), 1) if agent.last_round else None,
            certificate=certificate_body(agent.certificate, now),
            names_apart=agent.names_apart,
            two_holders=agent.two_holders,
            stop=confirmed(agent) or None,
            not_now=agent.not_now or None,
            ca=agent.ca or None,
            rotation=agent.rotation or None,
        )
        for agent in agents
    )


def _on_one_host(agent: AgentState, agents: Iterable[AgentState]) -> str:
    """Who of another environment reports the very same addresses, in words; "" for nobody."""
    mine = frozenset(agent.addresses)
    others = [a.name for a in agents if a.environment != agent.environment and mine and frozenset(a.addresses) == mine]
    if not others:
        return ""
    return (
        f"on one host with {', '.join(others)}: nothing between them crosses a boundary; give each environment a host"
    )


def losses_body(lost: Losses, untold: int = 0) -> status.AgentLosses:
    """What was lost of an agent's reports; `untold` batches are not in it yet."""
    return status.AgentLosses(
        batches=lost.batches,
        reports=lost.reports,
        since=iso(lost.since),
        until=iso(lost.until),
        why=words(lost.why),
        untold=untold,
    )


def words(why: str) -> tuple[str, ...]:
    """Why reports were lost: the store joins them by commas."""
    return tuple(why.split(",")) if why else ()


def gaps_body(topology: Topology, gaps: Iterable[Gap]) -> tuple[status.Gap, ...]:
    """`/api/v1/gaps`: every gap by itself, the newest first. Where several spools' were folded, there is no sequence."""
    environments = topology.agents()
    return tuple(
        status.Gap(
            agent=gap.agent,
            environment=environments.get(gap.agent),
            spool=gap.spool or None,
            first=gap.first or None,
            last=gap.last or None,
            batches=gap.batches,
            reports=gap.reports,
            since=iso(gap.since),
            until=iso(gap.until),
            why=words(gap.why),
            noticed=iso(gap.noticed),
        )
        for gap in gaps
    )


def certificate_body(valid: tuple[float, float], now: float) -> status.Certificate | None:
    """From when until when it is valid, epoch seconds; `soon` is when its end is to be shown: 14 days ahead."""
    starts, ends = valid
    if not ends:
        return None
    return status.Certificate(expires=iso(ends), days=round((ends - now) / 86400, 1), soon=ends_soon(starts, ends, now))


def names_body(estate: Estate) -> Names:
    """Of the topology in force."""
    return Names(names=names_seen(estate, names_of(estate.topology)))


def names_seen(estate: Estate, names: Iterable[str]) -> tuple[Name, ...]:
    """These names, at each agent that was asked for them."""
    agents = estate.topology.agents().items()
    return tuple(
        Name(
            name=name,
            seen=tuple(
                _at(agent, environment, found)
                for agent, environment in agents
                if (found := estate.lookups(agent).get(name)) is not None
            ),
        )
        for name in names
    )


def _at(agent: str, environment: str, found: Lookup) -> NameAt:
    return NameAt(
        agent=agent,
        environment=environment,
        addresses=found.addresses,
        problem=found.problem or None,
        origin=found.origin or None,
        full_name=found.full_name or None,
        ttl_s=found.ttl_s,
        wildcard=found.wildcard or None,
    )
