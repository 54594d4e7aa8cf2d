"""Real brokers on 127.0.0.1, configured by `segwatch pki broker` and started by hand as this process's children."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.broker.configurations import Kind, Place, write
from coordinator.broker.embedded import find_server
from reachability.topology import Topology
from tests.support.ports import free_port

RABBIT = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
READY_S = 90.0  # RabbitMQ takes its time on a busy machine


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass
class Node:
    """A server's process in a session of its own, so that all of it can be killed."""

    directory: Path
    port: int
    command: Sequence[str]
    host: str = "127.0.0.1"
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtts://{self.host}:{self.port}"

    def spawn(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Until it listens for MQTT."""
        until = time.monotonic() + READY_S
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert time.monotonic() < until, self.log()
            time.sleep(0.1)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """kill -9, of all its processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """All of them, started together."""
    try:
        for node in nodes:
            node.spawn()
        for node in nodes:
            node.wait()
        yield
    finally:
        for node in nodes:
            node.kill()


def mosquitto(topology: Topology, pki_dir: Path, directory: Path, host: str = "127.0.0.1") -> Node:
    node = Node(directory, free_port(), ["mosquitto", "-c", str(directory / "mosquitto.conf")], host)
    _write(Kind.MOSQUITTO, topology, pki_dir, node)
    if os.geteuid() == 0:  # else it becomes a user who cannot read a test's directory
        with (directory / "mosquitto.conf").open("a") as conf:
            conf.write("user root\n")
    return node


def nats(topology: Topology, pki_dir: Path, directory: Path, host: str = "127.0.0.1") -> Node:
    node = Node(directory, free_port(), [str(find_server()), "-c", str(directory / "nats.conf")], host)
    _write(Kind.NATS, topology, pki_dir, node)
    return node


@contextlib.contextmanager
def port_mapper(directory: Path) -> Iterator[Mapping[str, str]]:
    """An epmd of our own, by which RabbitMQ's nodes find each other: the environment that names it."""
    port = free_port()
    environment = {"ERL_EPMD_PORT": str(port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    node = Node(directory, port, ["epmd"], environment=environment)
    with running(node):
        yield environment


def rabbitmq(
    topology: Topology,
    pki_dir: Path,
    directory: Path,
    mapper: Mapping[str, str],
    *,
    name: str = "rabbit",
    host: str = "127.0.0.1",
) -> Node:
    port, distribution = free_port(), free_port()
    environment = {
        **mapper,
        "HOME": str(directory),  # of its cookie
        "RABBITMQ_NODENAME": f"{name}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
    }
    node = Node(directory, port, [str(RABBIT[-1])], host, environment)
    _write(Kind.RABBITMQ, topology, pki_dir, node)
    cookie = directory / ".erlang.cookie"
    cookie.write_text("SEGWATCHTEST")
    cookie.chmod(0o600)
    return node


def _write(kind: Kind, topology: Topology, pki_dir: Path, node: Node) -> None:
    shutil.rmtree(node.directory, ignore_errors=True)
    place = Place(node.host, node.port, node.directory)
    write(kind, topology, place, pki_dir, node.directory, now())
