"""An estate of two environments with its certificates, and a broker that can be started on 127.0.0.1."""

import asyncio
import datetime as dt
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_network
from pathlib import Path

import msgspec

from agent import upkey
from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.embedded import EmbeddedBroker
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.support.ports import free_port
from tests.support.waiting import HANG_S
from wire.dial import Broker
from wire.envelope import AnyUp, pack_up
from wire.messages import Status
from wire.mqtt import Link, Message
from wire.signing import sign_up


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
        self.port = free_port()
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


Running = Callable[[], AbstractAsyncContextManager[Site]]


class Voice:
    """Makes payloads as the agent does whose credentials these are: signed, a status with the certificate behind the key."""

    def __init__(self, held: Broker) -> None:
        file = held.certificate.with_suffix(".sign")
        upkey.make(held.certificate, held.key, file)
        self._key = msgspec.msgpack.decode(file.read_bytes(), type=upkey.UpKey)

    def __call__(self, message: AnyUp) -> bytes:
        if isinstance(message, Status):
            key = self._key.signing.verify_key.encode()
            message = msgspec.structs.replace(
                message, certificate=self._key.certificate, key=key, proof=self._key.proof
            )
        return self.sign(pack_up(message))

    def sign(self, sealed: bytes) -> bytes:
        return sign_up(self._key.signing, sealed)


async def connected(*links: Link) -> None:
    """Until all of them are."""
    async with asyncio.timeout(HANG_S):
        for link in links:
            await link.wait_connected()


async def one(link: Link) -> Message:
    """The next one, acknowledged."""
    async with asyncio.timeout(HANG_S):
        async for message in link.messages():
            message.done()
            return message
    raise AssertionError
