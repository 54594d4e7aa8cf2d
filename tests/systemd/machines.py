"""Machines that boot a systemd of their own: systemd-nspawn in namespaces without a way out."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.debian import ALONE, apt_sources, make_root
from tests.support.paths import ROOT

NAMES = ("core", "dev-1", "prod-1")
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,iproute2,procps"
STEP_S, READY_S, BASE_S = 300.0, 180.0, 900.0  # hang guards, for a machine that carries other loads too
NEEDED = ("systemd-nspawn", "mmdebstrap", "nft", "nsenter")


class MachineError(Exception):
    """A step that failed, with what it printed."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One that has booted. `leader` is its systemd, as a process of this machine."""

    name: str
    leader: int

    def run(self, *command: str, code: int | None = 0, given: bytes = b"", within_s: float = STEP_S) -> str:
        """What a command prints there, as root; MachineError when it ends with another code (None: any) or does not end."""
        into = (
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
        )
        clean = ("env", "-i", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return step(*into, *clean, *command, code=code, given=given, within_s=within_s, where=f"{self.name}: ")

    def shell(self, script: str, *, code: int | None = 0) -> str:
        """What lines of sh print there, errors as well."""
        return self.run("sh", "-euc", f"exec 2>&1\n{script}", code=code)

    def put(self, path: str, data: bytes) -> None:
        """A file there."""
        self.run("sh", "-euc", 'cat >"$1"', "sh", path, given=data)

    def get(self, path: str) -> bytes:
        """A file of there."""
        return Path(f"/proc/{self.leader}/root{path}").read_bytes()

    def until(self, script: str, what: str, within_s: float = READY_S) -> None:
        """Waits for lines of sh to succeed there."""
        end = time.monotonic() + within_s
        while self.run("sh", "-euc", f"{{ {script}\n}} >/dev/null 2>&1 && echo yes || echo no").strip() != "yes":
            if time.monotonic() > end:
                log = self.run("journalctl", "--no-pager", "--lines=40", "--output=cat", code=None)
                raise MachineError(f"{self.name}: gave up waiting for {what} after {within_s:.0f} s\n{log}")
            time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Estate:
    """The machines, and the router between them."""

    core: Machine
    dev: Machine
    prod: Machine
    router: int

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All three."""
        return (self.core, self.dev, self.prod)

    def nft(self, *words: str) -> None:
        """A rule of the router's."""
        step("nsenter", f"--target={self.router}", "--net", "nft", *words, where="router: ")


def why_not() -> str:
    """Why no systemd boots here; "" when one may."""
    if os.geteuid() != 0:
        return "only root boots a systemd of its own"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def make_base(directory: Path) -> Path:
    """What each machine boots: a Debian with systemd and Python, and nothing of segwatch."""
    sources = directory / "sources.list"
    sources.write_text(apt_sources())
    base = directory / "base"
    step(*make_root(str(base), PACKAGES, str(sources)), within_s=BASE_S)
    for unit in ("systemd-networkd.service",):
        step("systemctl", f"--root={base}", "enable", "--quiet", unit)
    return base


@contextlib.contextmanager
def booted(base: Path, directory: Path) -> Iterator[Estate]:
    """Three machines with that base, up and running. Nothing of them outlives the block, nor this process."""
    place = directory / "machines"
    place.mkdir()
    router, groups = str(ROOT / "tests/systemd/router"), f"segwatch-test-{os.getpid()}"
    with (directory / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            [*ALONE, "--net", "--mount-proc", router, str(base), str(place), groups],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:

        def leaders() -> dict[str, int]:
            if process.poll() is not None:
                raise MachineError(f"the router ended with {process.returncode}:\n{tail(directory)}")
            return _leaders(process.pid)

        _until(lambda: len(leaders()) == len(NAMES), f"three machines; {tail(directory)}")
        core, dev, prod = (Machine(name, leaders()[name]) for name in NAMES)
        for machine in (core, dev, prod):
            machine.until("systemctl is-system-running", "systemd to be running")
            machine.until("ip route get 10.0.0.1", "a route")
        (shell,) = psutil.Process(process.pid).children()
        yield Estate(core, dev, prod, shell.pid)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place)
        _remove_groups(groups)


def tail(directory: Path) -> str:
    """What the machines said at last."""
    with contextlib.suppress(OSError):
        return (directory / "boot.log").read_text(errors="replace")[-2000:]
    return ""


def _remove_groups(name: str) -> None:
    """The control groups that were made for the machines, in each hierarchy; their last processes may still be ending."""
    hierarchies = Path("/sys/fs/cgroup")
    for top in (*hierarchies.glob(name), *hierarchies.glob(f"*/{name}")):
        for group in (*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top):
            _until(lambda group=group: _is_removed(group), f"{group} to be empty")  # type: ignore[misc]


def _is_removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def _leaders(router: int) -> dict[str, int]:
    """Each machine's systemd: the child of its nspawn."""
    found: dict[str, int] = {}
    for process in psutil.Process(router).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            named = [word for word in process.cmdline() if word.startswith("--machine=segwatch-")]
            started = [child.pid for child in process.children() if child.cmdline()[:1] == ["/usr/lib/systemd/systemd"]]
            if named and started:
                found[named[0].removeprefix("--machine=segwatch-")] = started[0]
    return found


def step(*command: str, code: int | None = 0, given: bytes = b"", within_s: float = STEP_S, where: str = "") -> str:
    """What a command prints; MachineError when it ends with another code (None: any) or does not end."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{where}{' '.join(command)} still runs after {within_s:.0f} s") from error
    said = done.stdout.decode(errors="replace")
    if code is not None and done.returncode != code:
        raise MachineError(
            f"{where}{' '.join(command)}: exit {done.returncode}\n{said[-4000:]}\n{done.stderr.decode(errors='replace')[-4000:]}"
        )
    return said


def _until(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_S
    while not ready():
        if time.monotonic() > end:
            raise MachineError(f"gave up waiting for {what} after {READY_S:.0f} s")
        time.sleep(0.1)
