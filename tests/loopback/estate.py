"""An estate of two environments with its certificates, and a broker that can be started on 127.0.0.1."""

import datetime as dt
import socket
from ipaddress import ip_network
from pathlib import Path

from coordinator import pki
from coordinator.broker import EmbeddedBroker, Listen
from reachability.topology import DeclaredAgent, Environment, Topology
from wire.mqtt import Broker


def estate(*names: str) -> Topology:
    """`dev-1` belongs to `dev`."""
    environments: dict[str, Environment] = {}
    for index, name in enumerate(names):
        environment = name.partition("-")[0]
        held = environments[environment].agents if environment in environments else {}
        environments[environment] = Environment(
            environment, (ip_network(f"10.{10 + index}.0.0/24"),), {**held, name: DeclaredAgent(name)}
        )
    return Topology(environments)


class Site:
    """A coordinator's machine: PKI, broker, and credentials for whoever asks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pki = directory / "pki"
        self.state = directory / "state"
        self.topology = estate("dev-1", "prod-1")
        pki.init(self.pki, dt.datetime.now(dt.UTC))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.broker = EmbeddedBroker(self.topology, self.pki, self.state, Listen("127.0.0.1", self.port))

    @property
    def url(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    def credentials(self, name: str) -> Broker:
        """Where to connect to, as that agent."""
        issued = pki.issue_agent(self.pki, name.partition("-")[0], name, dt.datetime.now(dt.UTC))
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate.write_bytes(issued.certificate)
        key.write_bytes(issued.key)
        return Broker("127.0.0.1", self.port, self.pki / "ca.pem", certificate, key, pki.BROKER_NAME)
