"""The small estate with its system under load, on disks that can be filled, and what an init system does: start again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lab.estate import Estate
from lab.sealed import LabError, Process
from lab.system import System
from tests.chaos import ledger
from tests.chaos.greens import Hole
from tests.chaos.plan import HOLES
from tests.lab.services import serve
from tests.lab.small import AGENTS, SERVICES, plan, topology
from tests.support.clock import Clock
from tests.support.paths import ROOT

PERIOD_S = 6.0
SWEPT = (120, 30)  # TCP and UDP ports, from 1
SWEEP = f"sweep: {{every: 40s, ports: [tcp/1-{SWEPT[0]}, udp/1-{SWEPT[1]}]}}, "
SPOOL_MIB, STORE_MIB = 16, 192
RESTART_S = 1.0  # RestartSec= of the units
PATH = "paths:\n  - {name: chaos, from: stage, to: prod.app, expect: allowed, owner: ops, justification: for a while}\n"
KEEP = Path(os.environ["CHAOS_KEEP"]) if os.environ.get("CHAOS_KEEP") else None
COORDINATOR, BROKER = "coordinator", "broker"


class World:
    """The system. `exits` are the ends of processes that nobody asked for: (epoch seconds, name, code)."""

    def __init__(self, estate: Estate, *, sweep: bool, life: str = "") -> None:
        self.estate = estate
        self._sweep = SWEEP if sweep else ""
        self.text = self.declaring()
        self.clocks = {name: Clock(estate.directory / f"clock-{name}") for name in (COORDINATOR, *AGENTS)}
        self.ahead_s, self.set_at = 0, 0.0  # the coordinator's clock, and when it was set last, epoch seconds
        env = {name: clock.env for name, clock in self.clocks.items()}
        self.system = System(estate, self.text, {agent: agent for agent in AGENTS}, life=life, env=env)
        self.exits: list[tuple[float, str, int]] = []
        self.open: dict[int, Hole] = {}
        self.holes: list[Hole] = []
        self.broken = False  # the topology file, just now
        self.digest = ""  # of the topology that is in force when nothing is wrong
        self._hour = -3600
        self._wanted: set[str] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        for name, mib in [("state", STORE_MIB), *((f"state-{agent}", SPOOL_MIB) for agent in AGENTS)]:
            directory = self.system.directory / name
            directory.mkdir(mode=0o700)
            estate.run("", ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", name, str(directory)]).check()
        self.system.socket = self.state("state") / "coordinator.sock"
        self._ledger("store", "state")
        for agent in AGENTS:
            self._ledger("spool", f"state-{agent}/spool.sqlite")

    def state(self, name: str) -> Path:
        """A state directory, as this test reaches it."""
        return self.estate.place.seen(self.system.directory / name)

    def taken(self) -> ledger.Taken:
        """What the coordinator's store has taken so far."""
        return ledger.taken(json.loads(self._ledger("taken", "state/store.sqlite")))

    def recorded(self, agent: str) -> ledger.Recorded:
        """What an agent's spool was given so far."""
        return ledger.recorded(agent, json.loads(self._ledger("recorded", f"state-{agent}/spool.sqlite")))

    def _ledger(self, verb: str, path: str) -> str:
        command = [sys.executable, "-P", ledger.__file__, verb, str(self.system.directory / path)]
        return self.estate.run("", command).check().stdout

    def keep(self, path: str) -> None:
        """What the API says now, for whoever looks into a run: beside the logs in `CHAOS_KEEP`."""
        if KEEP:
            KEEP.mkdir(parents=True, exist_ok=True)
            with (KEEP / "asked.json").open("a") as file:
                file.write(json.dumps({"at": time.time(), "path": path, "body": self.system.api(path)}) + "\n")

    def keep_all(self) -> None:
        """Logs, store and spools."""
        if KEEP:
            shutil.copytree(self.estate.place.seen(self.system.directory), KEEP, dirs_exist_ok=True, ignore=_not_kept)

    def renewals(self, agent: str) -> int:
        """How often it has renewed its certificate over its own channel, by its own word."""
        return self.system.log(agent).count("certificate renewed")

    # -- processes ------------------------------------------------------------------------------------------------

    def deploy(self) -> None:
        """Everything runs and is connected."""
        self.system.deploy()
        self._wanted = {COORDINATOR, *AGENTS}
        self.system.wait_for(lambda: self.system.connected() >= set(AGENTS), "the agents", 60)

    def kill(self, name: str) -> None:
        """kill -9, and no restart until `start`."""
        with self._lock:
            self._wanted.discard(name)
            if name in self.system.processes:
                self.system.kill(name)

    def start(self, name: str) -> None:
        """As the init system would."""
        with self._lock:
            self._wanted.add(name)
            if name not in self.system.processes:
                if name == COORDINATOR:
                    self.system.start_coordinator()
                else:
                    self.system.start_agent(name)

    def signal(self, name: str, number: int) -> None:
        """To the process alone, where it runs."""
        with self._lock:
            if name == BROKER:
                for pid in self._brokers():
                    self.estate.place.ask({"op": "signal", "pid": pid, "signal": number})
            elif name in self.system.processes:
                self.system.processes[name].signal(number)

    def supervise(self) -> None:
        """Start again what has ended, until `end`."""
        ended: dict[str, float] = {}
        while not self._over.wait(0.25):
            with self._lock:
                for name in self._wanted:
                    process = self.system.processes.get(name)
                    if process is not None and process.poll() is not None:
                        code = self.system.processes.pop(name).returncode
                        self.exits.append((time.time(), name, code or 0))
                        ended[name] = time.monotonic()
                    if name not in self.system.processes and time.monotonic() - ended.get(name, 0.0) > RESTART_S:
                        self.start(name)

    def end(self) -> dict[str, int]:
        """Stop everything in good order, the agents first; exit codes."""
        self._over.set()
        with self._lock:
            self._wanted.clear()
            return {name: self.system.stop(name) for name in sorted(self.system.processes, reverse=True)}

    def _brokers(self) -> list[int]:
        said = self.estate.run("", ["ps", "-eo", "pid=,args="]).stdout
        return [int(line.split()[0]) for line in said.splitlines() if "nats-server" in line]

    def an_hour(self) -> int:
        """Ahead, and back the next time: seconds."""
        self._hour = -self._hour
        return self._hour

    def set_clock(self, name: str, ahead_s: int) -> None:
        """The wall clock of a process, and of what it starts."""
        if name == COORDINATOR:
            self.set_at = time.time()
        self.clocks[name].set(ahead_s)
        if name == COORDINATOR:
            self.ahead_s, self.set_at = ahead_s, time.time()

    def flood(self, agent: str) -> Process:
        """Who has the agent's credentials publishes as much as goes."""
        command = [sys.executable, "-P", "-m", "tests.chaos.flooding", f"state-{agent}"]
        with (self.system.directory / f"flood-{agent}.log").open("ab") as log:
            return self.estate.spawn(
                agent, command, stdout=log, stderr=log, cwd=self.system.directory, env={"PYTHONPATH": str(ROOT)}
            )

    # -- network --------------------------------------------------------------------------------------------------

    def wire(self, agent: str, state: str) -> None:
        """Pull an agent's wire out of its switch ("down"), or put it in again."""
        environment = agent.partition("-")[0]
        port = next(
            index
            for segment in self.estate.plan.segments
            if segment.name == environment
            for index, host in enumerate(segment.hosts)
            if host.name == agent
        )
        self.estate.run("", ["ip", "-n", f"switch-{environment}", "link", "set", f"p{port}", state]).check()

    def drop(self, name: str, *statements: str) -> None:
        """Statements that the router heeds before all else, under a name; none take them away again."""
        table = f"table inet chaos_{name.replace('-', '_')}"
        body = "\n".join(statements)
        chain = f"{table} {{ chain f {{ type filter hook forward priority -5;\n{body}\n}}\n}}\n" if statements else ""
        self.estate.nft("router", f"add {table}\ndelete {table}\n{chain}")

    def hole(self, index: int, *, opened: bool) -> None:
        """Open or close one of `HOLES`, and note when."""
        before = time.time()
        if opened:
            self.open[index] = Hole(HOLES[index], before, float("inf"))
            self.holes.append(self.open[index])
        else:
            hole = self.open.pop(index)
            hole.closing = before
        self.estate.rules([hole.rule.nft() for hole in self.open.values()])
        if opened:
            self.open[index].opened = time.time()
        else:
            hole.closed = time.time()

    # -- disks and files ------------------------------------------------------------------------------------------

    def fill(self, name: str) -> None:
        """Leave no byte on a state directory's disk."""
        ballast = self.state(name) / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, _room(ballast.parent))
            while True:
                file.seek(0, os.SEEK_END)
                file.write(b"\0" * 4096)

    def free(self, name: str) -> None:
        """Take the ballast away."""
        (self.state(name) / "ballast").unlink()

    def write_topology(self, content: str) -> None:
        """As an editor does: a new file in the place of the old."""
        new = self.system.topology.with_suffix(".new")
        new.write_text(content, "utf-8")
        new.replace(self.system.topology)

    def declaring(self, *, paths: str = "", without: str = "") -> str:
        """The topology file's text, perhaps with a further path, or without an agent."""
        full = topology(every=f"{PERIOD_S:.0f}s", paths=paths).replace("probing: {", f"probing: {{{self._sweep}")
        lines = [line for line in full.splitlines() if not (without and line.strip().startswith(f"{without}:"))]
        left = "\n".join(lines) + "\n"
        return left.replace("    agents:\n    services", "    services").replace("    agents:\n  stage", "  stage")


@contextlib.contextmanager
def world(*, sweep: bool, life: str = "") -> Iterator[World]:
    """The estate, its services and the deployed system, with the supervisor at work."""
    with Estate(plan()) as estate:
        for host, ports in SERVICES.items():
            serve(estate, host, ports)
        built = World(estate, sweep=sweep, life=life)
        built.deploy()
        supervisor = threading.Thread(target=_until_the_lab_ends, args=(built,), name="supervisor")
        supervisor.start()
        try:
            yield built
        finally:
            built.end()
            supervisor.join()


def _not_kept(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if not (Path(directory) / name).is_file() and not (Path(directory) / name).is_dir()} | {
        "pki", "ballast", "broker", *(name for name in names if name.endswith((".tar", ".key", ".pem")))
    }  # fmt: skip


def _room(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _until_the_lab_ends(built: World) -> None:
    with contextlib.suppress(LabError):
        built.supervise()
