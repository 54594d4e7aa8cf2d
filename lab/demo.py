"""The demo's estate: the ML platform of `topology.yaml`, a firewall that keeps it apart, and one hole that nobody declared."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Self

from lab.door import listening
from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.sealed import Sealed
from lab.system import CORE_HOST, System

SOURCE, TARGET = "dev-1", "prod-1"  # of the three lines: who asks, and the host whose closed port is asked for
PORT = 22
FEATURES = "features.prod.internal"
WEB = "127.0.0.1:8600"  # of the coordinator's host: where its page may be read without a token


def _host(name: str, environment: int, number: int, *, six: bool = False) -> Host:
    v4 = f"10.{environment}.0.{number}/24"
    return Host(name, (v4, f"fd00:{environment}::{number}/64") if six else (v4,))


SEGMENTS = (
    CORE_SEGMENT,
    Segment(
        "dev",
        ("10.10.0.0/24", "fd00:10::/64"),
        (_host("dev-1", 10, 10, six=True), _host("notebook", 10, 20), _host("training", 10, 30)),
    ),
    Segment(
        "test", ("10.40.0.0/24", "fd00:40::/64"), (_host("test-1", 40, 10, six=True), _host("test-inference", 40, 20))
    ),
    Segment(
        "staging",
        ("10.20.0.0/24", "fd00:20::/64"),
        (_host("staging-1", 20, 10, six=True), _host("staging-features", 20, 21)),
    ),
    Segment(
        "prod",
        ("10.30.0.0/24", "fd00:30::/64"),
        (
            _host("prod-1", 30, 10, six=True),
            _host("prod-2", 30, 11, six=True),
            _host("registry", 30, 21, six=True),
            _host("features", 30, 22),
        ),
    ),
)
SERVICES = {
    "dev-1": ("http/8888",),
    "notebook": ("http/8888",),
    "training": ("http/8265",),
    "test-1": ("statsd/8125",),
    "test-inference": ("http/8080",),
    "staging-1": ("https/8443",),
    "staging-features": ("redis/6379",),
    "prod-2": ("https/8443",),
    "registry": ("http/5000",),
    "features": ("redis/6379",),
}
AGENTS = ("dev-1", "test-1", "staging-1", "prod-1", "prod-2")
# What topology.yaml declares, and what its waiver knows of.
DECLARED = (
    "ip saddr 10.20.0.0/24 ip daddr 10.30.0.21 tcp dport 5000 accept",
    "ip6 saddr fd00:20::/64 ip6 daddr fd00:30::21 tcp dport 5000 accept",
    "ip saddr 10.40.0.0/24 ip daddr 10.20.0.10 tcp dport 8443 accept",
    "ip6 saddr fd00:40::/64 ip6 daddr fd00:20::10 tcp dport 8443 accept",
    "ip saddr 10.40.0.0/24 ip daddr 10.20.0.21 tcp dport 6379 accept",
)
LEAK = "ip saddr 10.10.0.10 ip daddr 10.30.0.21 tcp dport 5000 accept"
# What an operator would do to cut a host off while existing connections go on.
CUT_OFF = """
table inet cut {
  chain forward {
    type filter hook forward priority -10
    ip saddr 10.10.0.10 ct state new drop
    ip6 saddr fd00:10::10 ct state new drop
  }
}
"""


def topology_text() -> str:
    """The shipped `topology.yaml`: in a wheel beside this module, in a checkout at the top."""
    shipped = files("lab") / "topology.yaml"
    path = shipped if shipped.is_file() else Path(__file__).parent.parent / "topology.yaml"
    return path.read_text("utf-8")


class Demo:
    """The built estate with the whole system in it. A context manager: nothing of it outlives the block."""

    def __init__(self, *, leak: bool = True, place: Sealed | None = None) -> None:
        self.rules = (*DECLARED, LEAK) if leak else DECLARED
        plan = Plan(SEGMENTS, self.rules, {FEATURES: "10.30.0.22"})
        self.estate = Estate(plan, place)
        self.system = System(self.estate, topology_text(), {agent: agent for agent in AGENTS}, web=WEB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.estate.close()

    def serve(self) -> None:
        """Start every host's services: redis-server where it is installed, else stand-ins that speak the protocol."""
        for host, kinds in SERVICES.items():
            for kind in kinds:
                self.estate.spawn(host, _command(kind))
        for host, kinds in SERVICES.items():
            ports = [kind.partition("/")[2] for kind in kinds]
            self.system.wait_for(partial(self._listens, host, ports), f"the services of {host}")

    def cut_off(self) -> None:
        """Nothing new of dev-1 gets out of dev; its connection to the broker stays up."""
        self.estate.nft("router", CUT_OFF)

    def let_out(self) -> None:
        """As before."""
        self.estate.nft("router", "delete table inet cut")

    def stop_target(self) -> None:
        """The target's host ends: its agent without a word, its link, everything."""
        self.system.kill(TARGET)
        self.system.wait_for(lambda: TARGET not in self.system.connected(), f"{TARGET} to be missed")
        self.estate.run(TARGET, ["ip", "link", "set", "eth0", "down"]).check()

    def start_target(self) -> None:
        """The target's host comes back."""
        six = self.estate.plan.host(TARGET).address(6)
        lines = ["link set eth0 up", "route replace default via 10.30.0.1"]
        self.estate.run(TARGET, ["ip", "-batch", "-"], text="\n".join(lines) + "\n").check()
        # The kernel forgets IPv6 addresses with the link.
        self.estate.run(TARGET, ["ip", "-6", "addr", "replace", f"{six}/64", "dev", "eth0", "nodad"]).check()
        self.estate.run(TARGET, ["ip", "-6", "route", "replace", "default", "via", "fd00:30::1"]).check()
        self.system.start_agent(TARGET)
        self.system.wait_for(lambda: TARGET in self.system.connected(), f"{TARGET} to come back")

    def close_leak(self) -> None:
        """Take the rule out that let dev-1 through."""
        self.rules = DECLARED
        self.estate.rules(self.rules)

    def show_page(self) -> str:
        """The address of the coordinator's page on this machine's own loopback, from now on."""
        with listening() as door:
            self.estate.spawn(CORE_HOST, [sys.executable, "-P", "-m", "lab.door", WEB], stdin=door.fileno())
            return f"http://127.0.0.1:{door.getsockname()[1]}/"

    def _listens(self, host: str, ports: list[str]) -> bool:
        said = self.estate.run(host, ["ss", "-Hltun"]).stdout
        return all(f":{port} " in said for port in ports)


def _command(kind: str) -> list[str]:
    name, _, port = kind.partition("/")
    if name == "redis" and (server := shutil.which("redis-server")):
        return [
            server,
            "--port",
            port,
            "--bind",
            "*",
            "-::*",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--logfile",
            "/dev/null",
        ]
    return [sys.executable, "-P", "-m", "lab.serving", kind]


def hosts() -> int:
    """How many hosts the environments have."""
    return sum(len(segment.hosts) for segment in SEGMENTS if segment.hosts[0].name != CORE_HOST)
