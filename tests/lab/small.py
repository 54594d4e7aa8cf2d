"""A small fixed estate for tests of one thing each: three environments, four agents, two hosts without one."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from tests.lab.services import serve
from tests.lab.story import screen, told, why
from tests.lab.truth import BRISK, CATALOGUE_TCP, CATALOGUE_UDP, CellId, unfold

DEV, DEV6 = "10.10.0.10", "fd00:10::10"
STAGE, STAGE6 = "10.20.0.10", "fd00:20::10"
PROD, PROD6 = "10.30.0.10", "fd00:30::10"
PROD2, PROD26 = "10.30.0.11", "fd00:30::11"
REG, REG6 = "10.30.0.21", "fd00:30::21"
STAGE_B = "10.20.0.21"
AGENTS = {"dev-1": (DEV, DEV6), "stage-1": (STAGE, STAGE6), "prod-1": (PROD, PROD6), "prod-2": (PROD2, PROD26)}
HOSTS: dict[str, dict[str, tuple[str, ...]]] = {
    "dev": {"dev-1": (DEV, DEV6)},
    "stage": {"stage-1": (STAGE, STAGE6), "stage-b": (STAGE_B,)},
    "prod": {"prod-1": (PROD, PROD6), "prod-2": (PROD2, PROD26), "reg": (REG, REG6)},
}
NUMBERS = {"dev": 10, "stage": 20, "prod": 30}
# What listens: host -> (protocol, port). 9000/udp answers.
SERVICES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "prod-1": (("tcp", 8000), ("udp", 9000)),
    "reg": (("tcp", 5000),),
    "stage-1": (("tcp", 8080),),
    "stage-b": (("tcp", 8080),),
}
TO_APP = f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 8000 accept"
TO_REGISTRY = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"
WITNESSED = {address for pair in AGENTS.values() for address in pair}

BEGUN = 300  # packets: more than an agent that waits sends, fewer than a cycle's
NEVER = "365d"  # a period that cannot come round within a test: its phase is a moment of the epoch

TOPOLOGY = """version: 1
environments:
  dev:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    agents:
      dev-1: {{addresses: [10.10.0.10, "fd00:10::10"]}}
  stage:
    networks: [10.20.0.0/24, "fd00:20::/64"]
    agents:
      stage-1: {{addresses: [10.20.0.10, "fd00:20::10"]}}
    services:
      web: {{hosts: [10.20.0.10, "fd00:20::10", 10.20.0.21], ports: [tcp/8080]}}
  prod:
    networks: [10.30.0.0/24, "fd00:30::/64"]
    agents:
      prod-1: {{addresses: [10.30.0.10, "fd00:30::10"]}}
      prod-2: {{addresses: [10.30.0.11, "fd00:30::11"]}}
    services:
      app: {{hosts: [10.30.0.10, "fd00:30::10"], ports: [tcp/8000, udp/9000]}}
      registry: {{hosts: [10.30.0.21, "fd00:30::21"], ports: [tcp/5000], kind: mlflow, holds: [models]}}
{services}
{paths}
probing: {{{brisk}, every: {every}, confirm: 1, rate_pps: 3000}}
"""


def plan(rules: Sequence[str] = (), names: Mapping[str, str] | None = None) -> Plan:
    """The estate to build."""
    segments = [CORE_SEGMENT]
    for environment, hosts in HOSTS.items():
        number = NUMBERS[environment]
        built = tuple(
            Host(name, tuple(f"{a}/{64 if ':' in a else 24}" for a in addresses)) for name, addresses in hosts.items()
        )
        segments.append(Segment(environment, (f"10.{number}.0.0/24", f"fd00:{number}::/64"), built))
    return Plan(tuple(segments), tuple(rules), dict(names or {}))


def topology(*, services: str = "", paths: str = "", every: str = NEVER) -> str:
    """The file's text; `services` are further lines of prod's services, `paths` the paths block."""
    return TOPOLOGY.format(services=services, paths=paths, every=every, brisk=BRISK)


@dataclass(slots=True)
class Outcome:
    """A verify's exit code, its body, and its cells one by one."""

    code: int
    body: dict[str, Any]
    cells: dict[CellId, dict[str, Any]] = field(default_factory=dict)
    system: System | None = None

    def evidence(self, cell: CellId | None) -> list[str]:
        """What a failed assertion adds: why that cell is what it is."""
        return why(self.system, cell) if self.system is not None and cell in self.cells else []

    def cell(self, agent: str, address: str, protocol: str, port: int) -> dict[str, Any]:
        """One cell, from the agent's address of the same family."""
        source = AGENTS[agent][1 if ":" in address else 0]
        return self.cells[agent, source, address, protocol, port]

    def says(self, agent: str, address: str, protocol: str, port: int) -> tuple[str, str, str, int, str]:
        """(result, reachability, proof, row, reason) of a cell."""
        entry = self.cell(agent, address, protocol, port)
        return entry["result"], entry["reachability"], entry["proof"], entry["row"], entry["reason"]


def verify(system: System, *options: str) -> Outcome:
    """`segwatch verify --cells`."""
    code, body = system.verify("--cells", *options)
    return Outcome(code, body, unfold(body["cells"]), system)


@contextlib.contextmanager
def running(
    rules: Sequence[str] = (),
    *,
    text: str | None = None,
    drop_caps: Mapping[str, Sequence[str]] | None = None,
    names: Mapping[str, str] | None = None,
    services: Mapping[str, Sequence[tuple[str, int]]] = SERVICES,
    web: str = "",
    env: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[System]:
    """The estate with its services and the whole system in it, deployed by hand."""
    with Estate(plan(rules, names)) as estate:
        for host, ports in services.items():
            if ports:
                serve(estate, host, ports)
        system = System(
            estate, text or topology(), {agent: agent for agent in AGENTS}, drop_caps=drop_caps, web=web, env=env
        )
        deploy(system)
        with told(system):
            system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")
            yield system


@contextlib.contextmanager
def changed(system: System, host: str, table: str) -> Iterator[None]:
    """One nftables table more on a host, for as long as a test of several over one system lasts."""
    _, family, name, *_ = table.split()
    system.estate.nft(host, table)
    try:
        with told(system):
            yield
    finally:
        system.estate.run(host, ["nft", "delete", "table", family, name]).check()


_KEYS: dict[str, bytes] = {}


def deploy(system: System) -> None:
    """As `System.deploy`, with the keys and bundles that an earlier system of this process made from the same topology."""
    text = system.topology.read_text("utf-8")
    if kept := _KEYS.get(text):
        with tarfile.open(fileobj=io.BytesIO(kept)) as made:
            made.extractall(system.directory, filter="fully_trusted")
        system.start()
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        system.make_keys()
        made.add(system.directory / "pki", "pki")
        system.start()
        for agent in system.agents:
            made.add(system.directory / f"{agent}.tar", f"{agent}.tar")
    _KEYS[text] = packed.getvalue()


@contextlib.contextmanager
def under_way(system: System) -> Iterator[Future[Outcome]]:
    """A verify in which dev-1's packets are on their way; its outcome once it is through."""
    before = sent_by(system, "dev-1")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(verify, system)
        system.wait_for(lambda: sent_by(system, "dev-1") > before + BEGUN, "the first probes")
        yield asked


def sent_by(system: System, host: str) -> int:
    """Packets that the host has sent so far."""
    said = system.estate.run(host, ["cat", "/sys/class/net/eth0/statistics/tx_packets"]).check().stdout
    return int(said)


def at(agent: str, address: str, protocol: str, *ports: int) -> set[CellId]:
    """Cells of an agent at an address."""
    source = AGENTS[agent][1 if ":" in address else 0]
    return {(agent, source, address, protocol, port) for port in ports or (0,)}


def expected(extra_tcp: Sequence[int] = (), extra_udp: Sequence[int] = ()) -> Iterator[CellId]:
    """Every cell of a cycle over this estate."""
    tcp = CATALOGUE_TCP | {8000, 5000, 8080} | set(extra_tcp)
    udp = CATALOGUE_UDP | {9000} | set(extra_udp)
    for agent, sources in AGENTS.items():
        own = agent.partition("-")[0]
        for environment, hosts in HOSTS.items():
            if environment == own:
                continue
            for addresses in hosts.values():
                for address in addresses:
                    source = sources[1 if ":" in address else 0]
                    yield (agent, source, address, "icmp", 0)
                    yield from ((agent, source, address, "tcp", port) for port in tcp)
                    yield from ((agent, source, address, "udp", port) for port in udp)


Touched = Callable[[CellId], bool]


def assert_honest(
    outcome: Outcome,
    touched: Touched,
    *,
    opened: Touched = lambda _: False,
    extra_tcp: Sequence[int] = (),
    extra_udp: Sequence[int] = (),
) -> None:
    """No green but on proof, and 98% of what is closed and not touched by the fault proven.

    Args:
        outcome: of the run.
        touched: cells whose evidence the fault takes away; they must not pass, unless the caller says so by leaving them out.
        opened: cells that the firewall lets through: these must not pass either.
        extra_tcp: further ports that the topology declares.
        extra_udp: the same for UDP.
    """
    __tracebackhide__ = True
    wrong, closed, proven = [], 0, 0
    first: CellId | None = None  # that is wrong, else that is unproven
    unproven: CellId | None = None
    cells = dict(outcome.cells)
    for cell in expected(extra_tcp, extra_udp):
        entry = cells.pop(cell, None)
        if entry is None:
            wrong.append(f"missing {cell}")
            continue
        said = f"{cell}: {entry['result']} {entry['reachability']} ({entry['proof']}, row {entry['row']}, {entry['reason']})"
        if touched(cell) or opened(cell):
            if entry["result"] == "pass":
                wrong.append(f"green without proof {said}")
                first = first or cell
            continue
        if entry["result"] == "fail":
            wrong.append(f"false red {said}")
            first = first or cell
        if entry["required"]:
            closed += 1
            proven += entry["result"] == "pass"
            if entry["result"] != "pass" and len(wrong) < 10:
                wrong.append(f"(unproven {said})")
                unproven = unproven or cell
    wrong += [f"not in the plan {cell}" for cell in cells if cell[2] != "db.prod.internal"]
    bad = [line for line in wrong if not line.startswith("(")]
    if bad:
        raise AssertionError(screen([f"{len(bad)} wrong:", *bad[:10], *outcome.evidence(first)], 25))
    if proven < 0.98 * closed:
        said = f"only {proven} of {closed} untouched closed cells proven:"
        raise AssertionError(screen([said, *wrong[:10], *outcome.evidence(unproven)], 25))


def assert_others_proven(outcome: Outcome, touched: Touched) -> None:
    """98% of the required cells that a fault does not touch pass."""
    others = {cell: entry for cell, entry in outcome.cells.items() if not touched(cell) and entry["required"]}
    __tracebackhide__ = True
    unproven = [cell for cell, e in others.items() if e["result"] != "pass"]
    if len(unproven) > 0.02 * len(others):
        named = [
            f"{cell}: {e['result']}, row {e['row']}, {e['reason']}" for cell in unproven[:8] if (e := others[cell])
        ]
        said = [f"{len(unproven)} of {len(others)} unproven:", *named, *outcome.evidence(unproven[0])]
        raise AssertionError(screen(said, 25))
