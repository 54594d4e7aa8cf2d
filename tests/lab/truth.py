"""The lab's own ground truth: nftables rules as data, what they do to a packet, and which cells there must be.

Nothing here comes from segwatch but the shape of its answers: rules are drawn, printed for nft, and evaluated by ten lines.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from lab.estate import CORE_SEGMENT, Host, Plan, Segment

# What a cycle tries on every host whatever is declared: written down here again, from the shipped catalogue's documentation.
CATALOGUE_TCP = frozenset(
    (21, 22, 23, 25, 53, 80, 111, 135, 139, 389, 443, 445, 1433, 1521, 2049, 2375, 2376, 2379, 3000, 3306, 3389, 4040, 5000,
     5432, 5672, 5900, 5985, 6006, 6379, 6443, 7077, 8000, 8001, 8080, 8265, 8443, 8500, 8501, 8786, 8787, 8888, 9000, 9042,
     9090, 9092, 9200, 10001, 10250, 11211, 19530, 27017)
)  # fmt: skip
CATALOGUE_UDP = frozenset((53, 69, 123, 137, 161, 500, 514, 1900, 4789, 5353, 11211))

# The lab's networks have no outages of their own: but for test_outages nothing here waits for the spread of 4 s.
BRISK = "spread: 100ms"

GREEN = {"blocked", "blocked-at-host", "no-session"}
RED = {"reachable", "one-way"}

Address = str
CellId = tuple[str, Address, Address, str, int]  # agent, source address, address, protocol, port (0 for ICMP)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the router: what it matches and what it does."""

    source: str  # network or address
    destination: str
    protocol: str
    low: int
    high: int
    action: str  # accept | drop | reset | icmp

    def matches(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether a first packet meets it."""
        return (
            protocol == self.protocol
            and self.low <= port <= self.high
            and _inside(source, self.source)
            and _inside(destination, self.destination)
        )

    def nft(self) -> str:
        """The statement, with a counter."""
        ip = "ip6" if ":" in self.source else "ip"
        does = {
            "accept": "accept",
            "drop": "drop",
            "reset": "reject with tcp reset",
            "icmp": "reject with icmpx type admin-prohibited",
        }[self.action]
        if self.protocol == "icmp":
            kind = "icmpv6 type echo-request" if ip == "ip6" else "icmp type echo-request"
            return f"{ip} saddr {self.source} {ip} daddr {self.destination} {kind} counter {does}"
        span = f"{self.low}-{self.high}" if self.low != self.high else f"{self.low}"
        return f"{ip} saddr {self.source} {ip} daddr {self.destination} {self.protocol} dport {span} counter {does}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn estate: what to build, what to declare, what is true."""

    plan: Plan
    rules: tuple[Rule, ...]
    topology: str
    agents: Mapping[str, Host]  # name -> host
    environments: Mapping[str, tuple[Host, ...]]
    services: tuple[tuple[str, str, int], ...]  # host, protocol, port that is listened on
    declared: tuple[Rule, ...]
    sweep: Mapping[str, range]

    def crosses(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether the router forwards a first packet."""
        for rule in self.rules:
            if rule.matches(source, destination, protocol, port):
                return rule.action == "accept"
        return False

    def is_declared(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether the topology allows it."""
        return any(rule.matches(source, destination, protocol, port) for rule in self.declared)

    def witnessed(self, address: str) -> bool:
        """Whether an agent is on the host of the address."""
        return any(address in bare(host) for host in self.agents.values())

    def cells(self) -> Iterator[CellId]:
        """Every cell that a cycle and a sweep span."""
        declared = {rule.low for rule in self.declared if rule.protocol == "tcp"}
        tcp = CATALOGUE_TCP | declared | {p for _, proto, p in self.services if proto == "tcp"} | set(self.sweep["tcp"])
        udp = CATALOGUE_UDP | {p for _, proto, p in self.services if proto == "udp"} | set(self.sweep["udp"])
        for agent, host in self.agents.items():
            own = next(name for name, hosts in self.environments.items() if host in hosts)
            for environment, hosts in self.environments.items():
                if environment == own:
                    continue
                for target in hosts:
                    for source in bare(host):
                        for address in bare(target):
                            if (":" in source) is not (":" in address):
                                continue
                            yield (agent, source, address, "icmp", 0)
                            yield from ((agent, source, address, "tcp", port) for port in tcp)
                            yield from ((agent, source, address, "udp", port) for port in udp)


def draw(seed: int, *, tcp: int = 1000, udp: int = 300, rate_pps: int = 3000) -> Scene:
    """A random firewall over three environments and six hosts, three of them without an agent, in both families."""
    rng = random.Random(seed)
    names = ("dev", "staging", "prod")
    environments: dict[str, tuple[Host, ...]] = {}
    segments = [CORE_SEGMENT]
    for number, name in enumerate(names):
        v4, v6 = f"10.{10 + 10 * number}.0", f"fd00:{10 + 10 * number}:"
        hosts: tuple[Host, ...] = (
            Host(f"{name}-a", (f"{v4}.10/24", f"{v6}:10/64")),
            Host(f"{name}-b", (f"{v4}.21/24", f"{v6}:21/64")),
        )
        environments[name] = hosts
        segments.append(Segment(name, (f"{v4}.0/24", f"{v6}:/64"), hosts))
    services: list[tuple[str, str, int]] = []
    for hosts in environments.values():
        for host in hosts:
            services += [(host.name, "tcp", port) for port in rng.sample(range(1, tcp), 3)]
            services.append((host.name, "udp", rng.randrange(1, udp)))
    rules = [_rule(rng, environments, services, tcp, udp) for _ in range(rng.randint(10, 24))]
    # Some of what is let through is declared: a single service, so that the topology can say so.
    declared: list[Rule] = []
    for name, protocol, port in rng.sample(services, 3):
        if protocol != "tcp":
            continue
        owner = next(e for e, hosts in environments.items() if any(h.name == name for h in hosts))
        source = rng.choice([e for e in names if e != owner])
        for ip in (4, 6):
            target = next(h for h in environments[owner] if h.name == name).address(ip)
            network = next(s for s in segments if s.name == source).networks[0 if ip == 4 else 1]
            rule = Rule(network, target, "tcp", port, port, "accept")
            declared.append(rule)
            rules.insert(0, rule)
    scene = Scene(
        plan=Plan(tuple(segments), tuple(rule.nft() for rule in rules)),
        rules=tuple(rules),
        topology="",
        agents={hosts[0].name: hosts[0] for hosts in environments.values()},
        environments=environments,
        services=tuple(services),
        declared=tuple(declared),
        sweep={"tcp": range(1, tcp + 1), "udp": range(1, udp + 1)},
    )
    return Scene(
        **{**{f: getattr(scene, f) for f in Scene.__dataclass_fields__}, "topology": _topology(scene, rate_pps)}
    )


def _rule(
    rng: random.Random,
    environments: Mapping[str, tuple[Host, ...]],
    services: list[tuple[str, str, int]],
    tcp: int,
    udp: int,
) -> Rule:
    ip = rng.choice((4, 4, 6))
    source_name, target_name = rng.sample(sorted(environments), 2)
    source_host, target_host = rng.choice(environments[source_name]), rng.choice(environments[target_name])
    source = source_host.address(ip) if rng.random() < 0.3 else _network(source_host, ip)
    target = target_host.address(ip) if rng.random() < 0.7 else _network(target_host, ip)
    protocol = rng.choices(("tcp", "udp", "icmp"), (6, 3, 1))[0]
    if protocol == "icmp":
        return Rule(source, target, "icmp", 0, 0, rng.choice(("accept", "drop", "icmp")))
    most = tcp if protocol == "tcp" else udp
    low = rng.randint(1, most)
    if rng.random() < 0.4:  # on a service
        mine = [port for name, proto, port in services if name == target_host.name and proto == protocol]
        low = rng.choice(mine)
    width = rng.choice((0, 0, 3, 20, most // 4))
    action = rng.choices(("accept", "drop", "reset", "icmp"), (5, 1, 2, 2))[0]
    if action == "reset" and protocol != "tcp":
        action = "icmp"
    return Rule(source, target, protocol, low, min(most, low + width), action)


def _topology(scene: Scene, rate_pps: int) -> str:
    lines = ["version: 1", "environments:"]
    for name, hosts in scene.environments.items():
        segment = next(s for s in scene.plan.segments if s.name == name)
        lines += [f"  {name}:", f"    networks: [{', '.join(map(_quoted, segment.networks))}]", "    agents:"]
        lines += [
            f"      {hosts[0].name}: {{addresses: [{', '.join(map(_quoted, bare(hosts[0])))}]}}",
            "    services:",
        ]
        for host in hosts:
            ports = [f"{proto}/{port}" for owner, proto, port in scene.services if owner == host.name]
            addresses = ", ".join(map(_quoted, bare(host)))
            lines.append(f"      svc-{host.name}: {{hosts: [{addresses}], ports: [{', '.join(ports)}]}}")
    if scene.declared:
        lines.append("paths:")
    for number, rule in enumerate(scene.declared):
        lines += [
            f"  - name: p{number}",
            f"    from: {_quoted(rule.source)}",
            f"    to: {_quoted(_as_network(rule.destination))}",
            f"    ports: [tcp/{rule.low}]",
            "    expect: allowed",
            "    owner: lab",
            "    justification: drawn",
        ]
    sweep = f"tcp/1-{scene.sweep['tcp'][-1]}, udp/1-{scene.sweep['udp'][-1]}"
    lines += [
        "probing:",
        "  every: 365d",
        f"  {BRISK}",
        f"  sweep: {{every: 365d, ports: [{sweep}]}}",
        f"  rate_pps: {rate_pps}",
        "  flows: 1000000000",
        "  confirm: 1",
    ]
    return "\n".join(lines) + "\n"


def _inside(address: str, of: str) -> bool:
    if "/" not in of:
        return ip_address(address) == ip_address(of)
    network = ip_network(of)
    parsed = ip_address(address)
    return parsed.version == network.version and parsed in network


def bare(host: Host) -> list[str]:
    return [str(ip_address(text.partition("/")[0])) for text in host.addresses]


def _network(host: Host, ip: int) -> str:
    text = next(text for text in host.addresses if (":" in text) is (ip == 6))
    return str(ip_network(text, strict=False))


def _as_network(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _quoted(text: str) -> str:
    return f'"{text}"' if ":" in text else text


def unfold(cells: list[dict[str, Any]]) -> dict[CellId, dict[str, Any]]:
    """Every cell of `--cells` by itself; a cell in two entries is an error."""
    found: dict[CellId, dict[str, Any]] = {}
    for entry in cells:
        for port in ports_of(entry["ports"]):
            cell = (entry["agent"], entry["source_address"], entry["address"], entry["protocol"], port)
            assert cell not in found, f"{cell} is in two entries"
            found[cell] = entry
    return found


def ports_of(text: str | None) -> Iterator[int]:
    """The ports of `"1-79,81"`; the one cell of ICMP for null."""
    if text is None:
        yield 0
        return
    assert text, "ports are never empty"
    for part in text.split(","):
        low, _, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)
