"""A broker in an attacker's hands: it has the stolen certificate, asks no ACL, and does with messages what a test likes.

Enough of MQTT 3.1.1 for `wire.mqtt`, and nothing of segwatch. Around it a real coordinator and real agent processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import AgentConfig, Credentials, save
from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.daemon import Daemon
from coordinator.settings import Settings
from coordinator.topology.load import load_topology
from tests.loopback import recorded_agent
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until
from wire.dial import Broker

TOPOLOGY = """version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {every: 24h}
"""
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
Rule = Callable[[str, bytes], bool]


@dataclass
class _Client:
    writer: asyncio.StreamWriter
    topics: list[str]
    mid: int = 0


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([kind << 4 | flags]) + length + body


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("!H", data, at)
    return data[at + 2 : at + 2 + size], at + 2 + size


def _fits(subscription: str, topic: str) -> bool:
    wanted, given = subscription.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(w in {"+", g} for w, g in zip(wanted, given, strict=True))


class CapturedBroker:
    """`seen` is all that was published. What `holds` says is kept in `held`, what `drops` says is acked and gone."""

    def __init__(self, pki_dir: Path, port: int) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.held: list[tuple[str, bytes]] = []
        self.holds: Rule = lambda _topic, _payload: False
        self.drops: Rule = lambda _topic, _payload: False
        self._pki, self._port = pki_dir, port
        self._clients: list[_Client] = []
        self._retained: dict[str, bytes] = {}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        pki.issue_server(self._pki, ("127.0.0.1",), dt.datetime.now(dt.UTC))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._pki / "ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._pki / "broker.pem", self._pki / "broker.key")
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=context)
        try:
            yield
        finally:
            server.close()
            for client in self._clients:
                client.writer.transport.abort()
            await server.wait_closed()

    def inject(self, topic: str, payload: bytes) -> None:
        """Deliver what nobody published, at least not now."""
        for client in self._clients:
            if any(_fits(wanted, topic) for wanted in client.topics):
                client.mid = client.mid % 60_000 + 1
                name = topic.encode()
                body = struct.pack("!H", len(name)) + name + struct.pack("!H", client.mid) + payload
                client.writer.write(_packet(PUBLISH, 0b0010, body))

    def down_to(self, agent: str) -> list[tuple[str, bytes]]:
        """All that the coordinator ever sent to it, in order."""
        return [(topic, payload) for topic, payload in self.seen if f"/{agent}/down/" in topic]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, will = _Client(writer, []), None
        self._clients.append(client)
        try:
            while True:
                head = (await reader.readexactly(1))[0]
                size = shift = 0
                while True:
                    digit = (await reader.readexactly(1))[0]
                    size |= (digit & 0x7F) << shift
                    shift += 7
                    if not digit & 0x80:
                        break
                body = await reader.readexactly(size)
                match head >> 4:
                    case kind if kind == CONNECT:
                        _, at = _text(
                            body, 10
                        )  # the client's id, behind the protocol's name, level, flags and keepalive
                        if body[7] & 0x04:
                            name, at = _text(body, at)
                            payload, _ = _text(body, at)
                            will = name.decode(), payload
                        writer.write(_packet(CONNACK, 0, b"\0\0"))
                    case kind if kind == SUBSCRIBE:
                        at, count = 2, 0
                        while at < len(body):
                            wanted, at = _text(body, at)
                            client.topics.append(wanted.decode())
                            at, count = at + 1, count + 1
                        writer.write(_packet(SUBACK, 0, body[:2] + b"\1" * count))
                        for topic, payload in self._retained.items():
                            if _fits(client.topics[-1], topic):
                                self.inject(topic, payload)
                    case kind if kind == PUBLISH:
                        name, at = _text(body, 0)
                        writer.write(_packet(PUBACK, 0, body[at : at + 2]))
                        self._published(name.decode(), body[at + 2 :], retain=bool(head & 1))
                    case kind if kind == PINGREQ:
                        writer.write(_packet(PINGRESP, 0, b""))
                    case kind if kind == DISCONNECT:
                        will = None
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._clients.remove(client)
            writer.close()
            if will is not None:
                self._published(*will, retain=True)

    def _published(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self.seen.append((topic, payload))
        if retain:
            self._retained[topic] = payload
        if self.drops(topic, payload):
            return
        if self.holds(topic, payload):
            self.held.append((topic, payload))
            return
        self.inject(topic, payload)


async def _passes() -> None:
    """An attacker's broker keeps every rule while the coordinator tries it."""


class System:
    """A coordinator in this process, agents in theirs, and the captured broker between them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.pki = directory, directory / "pki"
        file = directory / "topology.yaml"
        file.write_text(TOPOLOGY)
        topology = load_topology(file)
        pki.init(self.pki, dt.datetime.now(dt.UTC))
        self.port = free_port()
        self.broker = CapturedBroker(self.pki, self.port)
        listen = Listen("127.0.0.1", self.port)
        self.daemon = Daemon(
            Settings(
                topology=file,
                pki=self.pki,
                listen=listen,
                broker=f"mqtts://127.0.0.1:{self.port}",
                state_dir=directory / "state",
            ),
            topology,
        )
        self.daemon._check_broker = _passes  # type: ignore[method-assign]

    def credentials(self) -> Broker:
        """The coordinator's own."""
        return self.daemon.broker.endpoint()

    def agent_dir(self, name: str) -> Path:
        """Its state directory, with a configuration the first time."""
        directory = self.directory / name
        if directory.exists():
            return directory
        directory.mkdir()
        environment = name.partition("-")[0]
        issued = pki.issue_agent(self.pki, environment, name, dt.datetime.now(dt.UTC))
        files = {
            "agent.pem": issued.certificate,
            "agent.key": issued.key,
            "ca.pem": (self.pki / "ca.pem").read_bytes(),
            "coordinator.pub": (self.pki / "coordinator.pub").read_bytes(),
        }
        for file, data in files.items():
            (directory / file).write_bytes(data)
            (directory / file).chmod(0o600)
        config = AgentConfig(
            name=name,
            environment=environment,
            broker=f"mqtts://127.0.0.1:{self.port}",
            credentials=Credentials(server_name=pki.BROKER_NAME),
            allow=("10.10.0.0/24", "10.30.0.0/24", "127.0.0.1"),
        )
        save(config, directory)
        return directory

    @contextlib.asynccontextmanager
    async def agent(self, name: str, *ways: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A real process; its log goes to `log` beside its state, the orders that reach its packet child to `orders`."""
        directory = self.agent_dir(name)
        with (directory / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", recorded_agent.__name__, str(directory), *ways, stderr=log
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    @contextlib.asynccontextmanager
    async def running(self, *agents: str) -> AsyncIterator[None]:
        """Everything, until all agents are connected."""
        async with self.broker.serving(), asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
            group.create_task(self.daemon.run(), name="coordinator")
            stack.callback(self.daemon.stop)
            for name in agents:
                await stack.enter_async_context(self.agent(name))
            await until(lambda: all(self.daemon.estate.agents[name].online for name in agents))
            yield

    async def verify(self) -> None:
        """One run, to its end."""
        run = self.daemon.runs.ask(sweep=False, source="dev", destination="prod")
        await until(lambda: (asked := self.daemon.runs.get(run)) is not None and asked.state == "finished", 2 * HANG_S)

    def orders(self, name: str) -> list[dict[str, Any]]:
        """What its packet child was told to do, in order."""
        path = self.directory / name / "orders"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, name: str) -> Iterator[dict[str, Any]]:
        """What it logged."""
        for line in (self.directory / name / "log").read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def stops(self, name: str) -> int:
        """How many it obeyed, be there a packet child to be told or not."""
        return sum(line.get("kind") == "stop" for line in self.log(name))

    def refusals(self, name: str) -> int:
        """As the coordinator knows them."""
        return self.daemon.estate.agents[name].refusals
