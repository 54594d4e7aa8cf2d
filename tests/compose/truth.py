"""What is true of the compose estate, by the router's rules, bound sockets, plain connections and the kernel: nothing of segwatch's.

The cells that there must be are those that topology.yaml, read as YAML, spans.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.compose.docker import Docker
from tests.lab.truth import CATALOGUE_TCP, CATALOGUE_UDP, CellId, Rule
from tests.support.paths import ROOT

NAMES = {"features.prod.internal": "10.30.0.22"}
REACH = (Path(__file__).parent / "reach.py").read_text()
CROSSES = {"reachable", "one-way"}
SCREEN = 25


class Estate:
    """What topology.yaml declares, read as YAML; which endpoints there must be, and what the router lets through."""

    def __init__(self) -> None:
        self.declared: Mapping[str, Any] = yaml.safe_load((ROOT / "topology.yaml").read_text())["environments"]
        self.agents = {
            name: (environment, agent["addresses"])
            for environment, held in self.declared.items()
            for name, agent in held["agents"].items()
        }

    def hosts(self, environment: str) -> set[str]:
        """Every address of it that anything names."""
        held = self.declared[environment]
        named = [address for agent in held["agents"].values() for address in agent["addresses"]]
        named += [host for service in held["services"].values() for host in service["hosts"]]
        return {NAMES.get(host, host) for host in named}

    def ports(self, protocol: str) -> set[int]:
        """The catalogue's and those of all services."""
        every = [
            port
            for held in self.declared.values()
            for service in held["services"].values()
            for port in service["ports"]
        ]
        own = {int(port.partition("/")[2]) for port in every if port.startswith(protocol)}
        return own | (CATALOGUE_TCP if protocol == "tcp" else CATALOGUE_UDP)

    def cells(self) -> Iterator[CellId]:
        """Every cell that there must be."""
        for agent, (own, sources) in self.agents.items():
            for environment in self.declared:
                if environment == own:
                    continue
                for address in self.hosts(environment):
                    source = next(s for s in sources if (":" in s) is (":" in address))
                    yield (agent, source, address, "icmp", 0)
                    yield from ((agent, source, address, "tcp", port) for port in self.ports("tcp"))
                    yield from ((agent, source, address, "udp", port) for port in self.ports("udp"))


def in_force(engine: Docker) -> list[Rule]:
    """What the router accepts between environments, by its own word."""
    said = engine.inside("router", "nft", "-j", "list", "chain", "inet", "estate", "forward")
    rules = []
    for entry in json.loads(said)["nftables"]:
        expressions = entry.get("rule", {}).get("expr", [])
        if not any("accept" in expression for expression in expressions):
            continue
        met: dict[str, Any] = {}
        for expression in expressions:
            match = expression.get("match")
            if match and "payload" in match["left"]:
                met[match["left"]["payload"]["field"]] = match["right"]
                met.setdefault("protocol", match["left"]["payload"]["protocol"])
                if match["left"]["payload"]["field"] == "dport":
                    met["protocol"] = match["left"]["payload"]["protocol"]
        if {"saddr", "daddr", "dport"} <= set(met):
            rules.append(
                Rule(_net(met["saddr"]), _net(met["daddr"]), met["protocol"], met["dport"], met["dport"], "accept")
            )
    return rules


def _net(value: Any) -> str:
    return value if isinstance(value, str) else f"{value['prefix']['addr']}/{value['prefix']['len']}"


def listening(engine: Docker) -> set[tuple[str, int, str]]:
    """(protocol, port, address) that are bound in the containers of the estate, by ss."""
    services = yaml.safe_load(engine.compose("config").stdout)["services"]
    found = set()
    for name, service in services.items():
        if not isinstance(service.get("networks"), dict) or name in {"core", "router"}:
            continue  # on no network of its own, or in no environment
        addresses = [service["networks"][network] for network in service["networks"]][0].values()
        for line in engine.inside(name, "ss", "-Hlntu").splitlines():
            protocol, _, _, _, local, *_ = line.split()
            host, _, port = local.rpartition(":")
            if not host.startswith("127."):  # Docker's own resolver
                bound = {"0.0.0.0": (".",), "[::]": (":",), "*": (".", ":")}[host]
                found |= {(protocol, int(port), a) for a in addresses if any(mark in a for mark in bound)}
    return found


def reached(engine: Docker, estate: Estate) -> dict[CellId, str]:
    """What plain connections from the agents' hosts say of every TCP cell."""
    wanted: dict[str, list[CellId]] = {}
    for cell in estate.cells():
        if cell[3] == "tcp":
            wanted.setdefault(cell[0], []).append(cell)

    def ask(agent: str) -> dict[CellId, str]:
        asked = json.dumps([(address, port) for _, _, address, _, port in wanted[agent]])
        return dict(
            zip(wanted[agent], json.loads(engine.inside(agent, "python3", "-c", REACH, given=asked)), strict=True)
        )

    with ThreadPoolExecutor() as pool:
        return {cell: word for answers in pool.map(ask, wanted) for cell, word in answers.items()}


def held(engine: Docker, service: str) -> dict[str, str]:
    """What process 1 of a container is and may do, by the kernel's word; `root` is 1 where that is mounted read-only."""
    told = engine.inside(service, "sh", "-c", "cat /proc/1/status; echo root: $(grep -c ' / [a-z]* ro,' /proc/mounts)")
    lines = [line.partition(":") for line in told.splitlines()]
    return {name: value.strip() for name, _, value in lines}


def assert_held(
    cells: dict[CellId, dict[str, Any]],
    estate: Estate,
    rules: list[Rule],
    bound: set[tuple[str, int, str]],
    but: tuple[str, ...] = (),
    more: Callable[[CellId], list[str]] = lambda _: [],
) -> None:
    """Nothing is wrong; else what is, folded: so many cells of an agent at an address are so, and the first of them.

    `more` gives further lines about the first that is wrong.
    """
    __tracebackhide__ = True
    wrong = held_against(cells, estate, rules, bound, but)
    if not wrong:
        return
    alike: dict[tuple[str, ...], list[CellId]] = {}
    for cell, said in wrong:
        alike.setdefault((cell[0], cell[2], cell[3], said), []).append(cell)
    lines = [f"{len(wrong)} cells are not as rules and sockets have them:"]
    for of, members in alike.items():
        first = members[0]
        entry = cells.get(first)
        detail = f"; row {entry.get('row')}, {entry['state']}, observed {entry.get('observed_at')}" if entry else ""
        lines.append(f"{len(members)} × {' '.join(of)} (the first: {first}{detail})")
    folded = [f"… and {len(lines) - SCREEN} more of these lines"] if len(lines) > SCREEN else []
    raise AssertionError("\n".join([*lines[:SCREEN], *folded, *more(wrong[0][0])]))


def held_against(
    cells: dict[CellId, dict[str, Any]],
    estate: Estate,
    rules: list[Rule],
    bound: set[tuple[str, int, str]],
    but: tuple[str, ...] = (),
) -> list[tuple[CellId, str]]:
    """What is wrong with which cell: a cell that is missing or too many, a green one that is open, one that is closed and not green."""
    wrong: list[tuple[CellId, str]] = []
    left = dict(cells)
    for cell in estate.cells():
        entry = left.pop(cell, None)
        crosses = any(rule.matches(*cell[1:]) for rule in rules)
        touched = cell[1] in but or cell[2] in but
        if entry is None:
            wrong.append((cell, "is missing"))
        elif crosses and not touched and entry["reachability"] not in CROSSES:
            wrong.append((cell, f"is open: {entry['result']}, {entry['reachability']} ({entry['reason']})"))
        elif crosses and not touched and (entry["state"] == "open") is not ((cell[3], cell[4], cell[2]) in bound):
            wrong.append((cell, f"crosses, and who listens there is another matter: {entry['state']}"))
        elif not crosses and entry["reachability"] in CROSSES:
            wrong.append((cell, f"is closed: {entry['result']}, {entry['reachability']} ({entry['reason']})"))
        elif not crosses and not touched and entry["required"] and entry["result"] != "pass":
            wrong.append((cell, f"is closed and unproven: {entry['result']}, {entry['reason']}"))
        elif touched and entry["result"] == "pass" and cell[2] in but:
            wrong.append((cell, f"is green, and its host has stopped: {entry['reachability']} ({entry['reason']})"))
    return wrong + [(cell, "is in no plan") for cell in left]
