"""What is allowed in a topology but would make a green worthless or a plan impossible. Warnings, never errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from coordinator.tasks import Limit, declared_costs
from coordinator.topology.consistency import within
from reachability.blackout import never_opens, open_until
from reachability.sides import FAMILIES, Sides, family_of
from reachability.topology import Environment, Mark, Network, Selector, Topology, family, is_address, is_wide
from reachability.vocabulary import Require, Schedule

LONG_BLACKOUT = timedelta(days=7)
_NUMERIC = re.compile(r"[0-9][0-9_-]*|0[bo][0-9a-f_]+")
_OWN_NAME = re.compile(r"(?:.+\.)?localhost(?:\.localdomain)?")


@dataclass(frozen=True, slots=True, order=True)
class Warned:
    """A doubt about a line of the file."""

    line: int
    column: int
    message: str


def lint(topology: Topology, now: datetime) -> list[Warned]:
    """Every doubt, in the order of the file."""
    sides = Sides(topology)
    found = [
        *_untestable(topology),
        *_uncontrolled(topology),
        *_families(topology),
        *_overlaps(topology),
        *_wide(topology),
        *_expired(topology, now),
        *_idle_paths(sides),
        *_unwitnessed(topology),
        *_untested(sides),
        *_astray(topology),
        *_misread(topology),
        *_blackouts(topology, now),
        *_too_much(sides),
    ]
    return sorted(set(found))


def _at(mark: Mark, message: str) -> Warned:
    return Warned(mark.line, mark.column, message)


def _untestable(topology: Topology) -> Iterator[Warned]:
    for environment in topology.environments.values():
        if not environment.agents:
            yield _at(
                environment.mark,
                f"no agent can test what '{environment.name}' reaches: declare an agent in it",
            )
        if not environment.agents and not environment.services:
            yield _at(
                environment.mark,
                f"'{environment.name}' has neither agent nor service: nothing in it is probed",
            )


def _uncontrolled(topology: Topology) -> Iterator[Warned]:
    for environment in topology.environments.values():
        agents = environment.agents
        owned = {address for agent in agents.values() for address in agent.addresses}
        others = [host for s in environment.services.values() for host in s.hosts if host not in owned]
        if others and not agents:
            hosts = ", ".join(dict.fromkeys(others))
            yield _at(
                environment.mark,
                f"nobody controls {hosts} from inside '{environment.name}': silence there will prove nothing",
            )
        own_services = [s for s in environment.services.values() if any(host in owned for host in s.hosts)]
        if own_services and len(agents) == 1:
            (only,) = agents
            yield _at(
                environment.mark,
                f"'{environment.name}' has no second agent to control the services on {only}'s host from inside: "
                "where packets reach it without an answer, its own firewall is not told from a broken service",
            )


def _families(topology: Topology) -> Iterator[Warned]:
    wanted = {network.version for e in topology.environments.values() for network in e.networks}
    if len(wanted) < 2:  # noqa: PLR2004
        return
    for environment in topology.environments.values():
        has = {network.version for network in environment.networks}
        for agent in environment.agents.values():
            known = {family(address) for address in agent.addresses}
            for missing in sorted(has - known) if known else ():
                yield _at(
                    agent.mark,
                    f"'{agent.name}' has no IPv{missing} address, but '{environment.name}' has IPv{missing} networks: "
                    f"nothing is tested from it over IPv{missing}",
                )
        for service in environment.services.values():
            addresses = [host for host in service.hosts if is_address(host)]
            if len(addresses) != len(service.hosts) or not addresses:
                continue  # a name may resolve to both
            for missing in sorted(has - {family(address) for address in addresses}):
                yield _at(
                    service.mark,
                    f"'{service.name}' is declared over IPv{family(addresses[0])} only, but '{environment.name}' has "
                    f"IPv{missing} networks: a path to it over IPv{missing} is not tested",
                )


def _overlaps(topology: Topology) -> Iterator[Warned]:
    """Two networks overlap where one holds the other: in their order, the wider first, those around one are few."""
    order = {name: place for place, name in enumerate(topology.environments)}
    networks = [(network, e.name) for e in topology.environments.values() for network in e.networks]
    networks.sort(key=lambda one: (one[0].version, int(one[0].network_address), one[0].prefixlen))
    around: list[tuple[Network, str]] = []
    for network, name in networks:
        while around and not (around[-1][0].version == network.version and around[-1][0].overlaps(network)):
            around.pop()
        for wider, owner in around:
            if owner != name:
                ends = sorted(((wider, owner), (network, name)), key=lambda end: order[end[1]])
                (mine, one), (other, two) = ends
                yield _at(
                    topology.environments[two].mark,
                    f"{other} of '{two}' overlaps {mine} of '{one}': which of them an address belongs to is not clear",
                )
        around.append((network, name))


def _wide(topology: Topology) -> Iterator[Warned]:
    for environment in topology.environments.values():
        if wide := [str(network) for network in environment.networks if is_wide(network)]:
            yield _at(
                environment.mark,
                f"'{environment.name}' is as wide as {', '.join(wide)}: bundles allow agents to probe all of it, and whatever "
                "a name leads to there is probed",
            )


def _expired(topology: Topology, now: datetime) -> Iterator[Warned]:
    for waiver in topology.waivers:
        if waiver.expires <= now:
            yield _at(
                waiver.mark, f"waiver '{waiver.id}' expired on {waiver.expires:%Y-%m-%d}: what it covered fails again"
            )


def _idle_paths(sides: Sides) -> Iterator[Warned]:
    # Addresses that only the agents know are not among the sides.
    reporting = {
        e.name for e in sides.topology.environments.values() if any(not a.addresses for a in e.agents.values())
    }
    for path in sides.topology.paths:
        if sides.lead(path) or any(_may_match(reporting, end) for end in (path.source, path.destination)):
            continue
        yield _at(
            path.mark,
            f"no agent can observe path '{path.name}': nothing probes from {path.source.text} to {path.destination.text}",
        )


def _may_match(reporting: set[str], end: Selector) -> bool:
    """Whether an agent that reports its own addresses may be at this end; `reporting` are the environments of such."""
    return end.environment in reporting if end.environment else bool(reporting)


def _unwitnessed(topology: Topology) -> Iterator[Warned]:
    for environment in topology.environments.values():
        if environment.require is not Require.NO_PACKET:
            continue
        hosts = _without_agent(environment)
        if hosts:
            yield _at(
                environment.mark,
                f"'{environment.name}' requires no-packet, which only an agent on the host can show; there is none on "
                f"{', '.join(hosts)}",
            )


def _without_agent(environment: Environment) -> list[str]:
    if any(not agent.addresses for agent in environment.agents.values()):
        return []  # they report their own
    owned = {address for agent in environment.agents.values() for address in agent.addresses}
    return list(
        dict.fromkeys(h for s in environment.services.values() for h in s.hosts if is_address(h) and h not in owned)
    )


def _untested(sides: Sides) -> Iterator[Warned]:
    environments = sides.topology.environments
    sources: dict[frozenset[int], list[str]] = {}  # environments with agents, by the families that they try
    for name, agents in sides.sources.items():
        if agents:  # else that is said already
            tried = frozenset(kind for kind in FAMILIES if any(agent.towards(kind) for agent in agents))
            sources.setdefault(tried, []).append(name)
    for name, hosts in sides.hosts.items():
        empty = not hosts  # that too, or its agents report their own
        if empty or any(not agent.addresses for agent in environments[name].agents.values()):
            continue
        has = {family_of(host.address) for host in hosts}
        for source in (source for tried, alike in sources.items() if tried.isdisjoint(has) for source in alike):
            if source != name:
                yield _at(
                    environments[name].mark,
                    f"nothing can be tested from '{source}' to '{name}': none of its hosts has an address of a "
                    "family that the agents there have",
                )


def _astray(topology: Topology) -> Iterator[Warned]:
    for environment in topology.environments.values():
        for network in environment.networks:
            if network.is_loopback:
                yield _at(environment.mark, f"{network} is each host's own: an agent would probe itself there")
        contains = within(environment.networks)
        for service in environment.services.values():
            for host in service.hosts:
                if is_address(host) and not contains(ip_address(host)):
                    yield _at(
                        service.mark,
                        f"host {host} of '{service.name}' is in no network of '{environment.name}': does it belong there?",
                    )


def _misread(topology: Topology) -> Iterator[Warned]:
    """Names in form only."""
    for service in (s for e in topology.environments.values() for s in e.services.values()):
        for host in service.hosts:
            if _NUMERIC.fullmatch(host):
                yield _at(
                    service.mark,
                    f"host '{host}' of '{service.name}' is taken for a DNS name, and reads like a number or a date: if a host "
                    f"has that name, write it in full, such as {host}.example.com",
                )
            if _OWN_NAME.fullmatch(host):
                yield _at(
                    service.mark,
                    f"host '{host}' of '{service.name}' is each host's own: an agent would probe itself there; write the "
                    "address or the name by which others reach it",
                )


def _blackouts(topology: Topology, now: datetime) -> Iterator[Warned]:
    windows = topology.probing.blackout
    for window in windows:
        if never_opens(window, now):
            yield _at(window.mark, f"blackout '{window.cron}' never opens: no year has that date")
    until = open_until(windows, now)
    if until is not None and until - now > LONG_BLACKOUT:
        yield _at(
            windows[0].mark,
            f"probing.blackout is open without a gap from now until {until:%Y-%m-%d} at least: nothing is probed until then",
        )


def _too_much(sides: Sides) -> Iterator[Warned]:
    topology, probing = sides.topology, sides.topology.probing
    limits = {
        Limit.RATE_PPS: f"at {probing.rate_pps} packets a second",
        Limit.FLOWS: f"with {probing.flows} entries in connection tables at a time",
    }
    periods = {
        Schedule.CYCLE: ("probing.every", probing.every_s),
        Schedule.SWEEP: ("probing.sweep.every", probing.sweep_every_s),
    }
    environment_of = topology.agents()
    for cost in declared_costs(sides):
        setting, period = periods[cost.schedule]
        if period is None or cost.seconds <= period:
            continue
        agent = topology.environments[environment_of[cost.agent]].agents[cost.agent]
        yield _at(
            agent.mark,
            f"a {cost.schedule} of '{cost.agent}' takes about {cost.seconds:,.0f} s {limits[cost.limit]}, "
            f"but {setting} is {period:,.0f} s: raise {cost.limit} or the period",
        )
