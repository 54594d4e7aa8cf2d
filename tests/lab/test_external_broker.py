"""The whole system over a broker that an operator runs, on a host of its own: a cycle is as good as over the embedded one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.topology.load import load_topology
from lab.estate import CORE_SEGMENT, Estate, Host
from lab.system import System
from tests.lab import small
from tests.lab.services import serve
from tests.loopback import brokers
from tests.loopback.brokers import Node

pytestmark = pytest.mark.lab

BROKER = "10.0.0.11"
MAPPER = {"ERL_EPMD_PORT": "4370", "ERL_EPMD_ADDRESS": "127.0.0.1"}
OPEN = "ip saddr 10.10.0.10 ip daddr 10.30.0.21 tcp dport 5000 accept"


def plan() -> Estate:
    planned = small.plan([OPEN])
    core = replace(CORE_SEGMENT, hosts=(*CORE_SEGMENT.hosts, Host("broker", (f"{BROKER}/24", "fd00::11/64"))))
    return Estate(replace(planned, segments=(core, *planned.segments[1:])))


def node(kind: str, system: System) -> Node:
    topology = load_topology(system.topology)
    pki_dir, directory = system.directory / "pki", system.directory / "broker"
    if kind == "rabbitmq":
        return brokers.rabbitmq(topology, pki_dir, directory, MAPPER, host=BROKER)
    made: Node = getattr(brokers, kind)(topology, pki_dir, directory, host=BROKER)
    return made


@contextmanager
def running(kind: str) -> Iterator[System]:
    """The small estate with one hole from dev to the registry, its system, and the broker on a host between them."""
    with plan() as estate:
        for host, ports in small.SERVICES.items():
            serve(estate, host, ports)
        directory = estate.directory
        system = System(estate, small.topology(), {agent: agent for agent in small.AGENTS})
        system.make_keys()
        made = node(kind, system)
        system = System(estate, small.topology(), system.agents, broker=made.url)

        def spawn(command: list[str], more: Mapping[str, str]) -> None:
            with (directory / "broker.log").open("ab") as log:
                estate.spawn("broker", command, stdout=log, stderr=log, cwd=directory, env={**os.environ, **more})

        if kind == "rabbitmq":
            spawn(["epmd"], MAPPER)
        spawn(list(made.command), made.environment)
        system.start()
        system.wait_for(lambda: system.connected() >= set(small.AGENTS), "the agents")
        yield system


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        ("mosquitto", ["suback"]),
        pytest.param("nats", [], marks=pytest.mark.soak),
        pytest.param("rabbitmq", ["retained-wildcard", "suback"], marks=pytest.mark.soak),
    ],
)
def test_a_cycle_over_it(kind: str, lacks: list[str]) -> None:
    with running(kind) as system:
        outcome = small.verify(system)
        assert outcome.code == 1
        assert outcome.says("dev-1", small.REG, "tcp", 5000)[:2] == ("fail", "reachable")
        # Silence is green by controls that the coordinator answers itself, at its own address: TCP and UDP.
        assert outcome.body["summary"]["fail"] == 1
        assert outcome.body["coverage"] > 0.98
        broker = system.api("status")["broker"]
        assert (broker["kind"], broker["connected"]) == ("external", True)
        assert [lack["name"] for lack in broker["lacks"]] == lacks
        assert not list(Path(system.directory / "state").glob("broker/*")), "no broker of its own runs beside it"
