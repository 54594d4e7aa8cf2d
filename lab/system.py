"""The whole product on an estate, by its command line alone: keys, coordinator, bundles, agents, verify."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from lab.estate import Estate
from lab.sealed import Finished, LabError, Process

SEGWATCH = Path(sys.executable).parent / "segwatch"
CORE_HOST = "coordinator"
PORT = 8883
HANGS_S = 120.0  # what takes this long hangs: a machine that is only busy gets there


class System:
    """A coordinator on the core's host and one agent per host, as an operator would deploy them by hand."""

    def __init__(
        self,
        estate: Estate,
        topology: str,
        agents: Mapping[str, str],
        *,
        drop_caps: Mapping[str, Sequence[str]] | None = None,
        web: str = "",
        broker: str = "",
        life: str = "",
        advertise: Sequence[str] = (),
        env: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`topology` is the file's text; `agents` maps agent to host; `drop_caps` agent to capabilities it must not have.

        `env` maps agents and "coordinator" to what their environment has besides.

        `broker` is the URL of one that is not the coordinator's; `life` is how long certificates of agents last; `advertise`
        is where agents are told that they find the coordinator.
        """
        self.estate = estate
        self.directory = estate.directory
        self.topology = self.directory / "topology.yaml"
        self.declare(topology)
        self.agents = dict(agents)
        self.processes: dict[str, Process] = {}
        self.socket = self.directory / "state" / "coordinator.sock"
        self._drop_caps = dict(drop_caps or {})
        self._env = dict(env or {})
        self._web = web
        self._broker = broker
        self._life = life
        self._advertise = [word for host in advertise for word in ("--advertise", host)]
        self._address = estate.plan.host(CORE_HOST).address()
        self._logs: dict[str, IO[bytes]] = {}

    def deploy(self) -> None:
        """Everything, from `pki init` to the last agent's start."""
        self.make_keys()
        self.start()

    def start(self) -> None:
        """Everything that follows `pki init`; bundles that are there are taken."""
        self.start_coordinator()
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.make_bundle, [a for a in self.agents if not (self.directory / f"{a}.tar").exists()]))
        for agent in self.agents:
            self.start_agent(agent)

    def declare(self, topology: str) -> None:
        """Put another text into the topology's place, at once: who watches the file never reads a half of it."""
        new = self.topology.with_suffix(".new")
        new.write_text(topology, "utf-8")
        new.replace(self.topology)

    def make_keys(self) -> None:
        """`segwatch pki init`."""
        self.cli("pki", "init", "--dir", "pki", "-f", "topology.yaml").check()

    def make_bundle(self, agent: str) -> None:
        """`segwatch pki agent`."""
        broker = ["--broker", self._broker or f"mqtts://{self._address}:{PORT}"]
        if self._broker:
            broker += ["--coordinator", self._address]
        life = ["--life", self._life] if self._life else []
        self.cli(
            "pki", "agent", agent, "--dir", "pki", "-f", "topology.yaml", *broker, *life, "--out", f"{agent}.tar"
        ).check()

    def start_coordinator(self) -> None:
        """`segwatch coordinator`, in the background."""
        more = ["--web", self._web] if self._web else []
        if self._web and not self._web.startswith("127."):  # the broker's certificate names this host too
            more += ["--web-cert", "pki/broker.pem", "--web-key", "pki/broker.key"]
        more += ["--broker", self._broker] if self._broker else []
        more += ["--certificate-life", self._life] if self._life else []
        self._start(
            "coordinator",
            CORE_HOST,
            ["coordinator", "-f", "topology.yaml", "--pki", "pki", "--listen", f"{self._address}:{PORT}",
             "--state-dir", "state", *self._advertise, *more],
        )  # fmt: skip

    def start_agent(self, agent: str) -> None:
        """`segwatch agent`, in the background on its host."""
        arguments = ["agent", "--bundle", f"{agent}.tar", "--state-dir", f"state-{agent}"]
        self._start(agent, self.agents[agent], arguments, self._drop_caps.get(agent, ()))

    def stop(self, name: str) -> int:
        """End the coordinator or an agent in good order; its exit code."""
        return self.processes.pop(name).terminate()

    def kill(self, name: str) -> None:
        """End the coordinator or an agent without a word."""
        self.processes.pop(name).kill()

    def cli(self, *arguments: str, host: str = CORE_HOST, timeout_s: float = 300.0) -> Finished:
        """A segwatch command on the coordinator's host, to its end."""
        return self.estate.run(host, [str(SEGWATCH), *arguments], cwd=self.directory, timeout_s=timeout_s)

    def ask(self, *arguments: str) -> Any:
        """The JSON that a reading command prints."""
        done = self.cli(*arguments, "--state-dir", "state", "-o", "json").check()
        return json.loads(done.stdout)

    def verify(self, *options: str, timeout_s: float = 600.0) -> tuple[int, Any]:
        """`segwatch verify -o json`: (exit code, body); LabError where it printed none."""
        done = self.cli("verify", "--state-dir", "state", "-o", "json", *options, timeout_s=timeout_s)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError as error:
            raise LabError(f"verify ended with {done.returncode}: {done.stderr[-2000:]}") from error

    def log(self, name: str) -> str:
        """What the coordinator or an agent has logged so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / f"{name}.log").read_text("utf-8", "replace")
        return ""

    def wait_for(self, ready: Callable[[], Any], what: str, within_s: float = HANGS_S) -> Any:
        """The first true value of `ready`, asked ten times a second; LabError after `within_s`."""
        until = time.monotonic() + within_s
        while True:
            found = ready()
            if found:
                return found
            if time.monotonic() > until:
                raise LabError(f"gave up waiting for {what} after {within_s:.0f} s")
            time.sleep(0.1)

    def connected(self) -> set[str]:
        """The agents that are connected; none while the coordinator does not answer."""
        status = self.api("status")
        return {agent["name"] for agent in status["agents"] if agent["state"] == "connected"} if status else set()

    def api(self, path: str) -> Any:
        """A body of the coordinator's API, by its socket; None while nobody answers."""
        request = f"GET /api/v1/{path} HTTP/1.0\r\nHost: segwatch\r\n\r\n".encode()
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(self.socket))
                connection.sendall(request)
                while part := connection.recv(65536):
                    answer += part
        except OSError:
            return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body) if b" 200 " in head.split(b"\r\n")[0] + b" " else None

    def _start(self, name: str, host: str, arguments: Sequence[str], drop_caps: Sequence[str] = ()) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = self.estate.spawn(
                host, [str(SEGWATCH), *arguments], stdout=log, stderr=log, cwd=self.directory, drop_caps=drop_caps,
                env=self._env.get(name, {}),
            )  # fmt: skip
