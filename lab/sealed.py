"""A sealed place: namespaces of its own for users, mounts, network and processes, torn down whatever happens.

Nothing in it has a route or an address to the machine's own interface, so no packet can leave.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lab import left
from wire.process.parent import die_with

NEEDED = {"unshare": "util-linux", "ip": "iproute2", "nft": "nftables"}
START_S = 60.0  # hang guards: a busy machine takes some seconds
END_S, RUN_S = 30.0, 120.0
_SYSCTL = Path("/proc/sys")


class LabError(Exception):
    """The lab cannot be built, or a command in it failed; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has run."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def check(self) -> Self:
        """Itself, or LabError when it failed."""
        if self.returncode:
            raise LabError(f"{' '.join(self.argv[:8])} failed with {self.returncode}: {self.stderr.strip()[-800:]}")
        return self


class Process:
    """A process in the lab."""

    def __init__(self, place: Sealed, pid: int, argv: Sequence[str]) -> None:
        self._place = place
        self.pid = pid  # in the lab's process namespace
        self.argv = tuple(argv)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._place.ask({"op": "poll", "pid": self.pid})["returncode"]
        return self.returncode

    def wait(self, timeout_s: float = RUN_S) -> int:
        """Its exit code once it has ended; TimeoutError when it does not in time."""
        until = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{' '.join(self.argv[:6])} still runs after {timeout_s:.0f} s")
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._place.ask({"op": "signal", "pid": self.pid, "signal": number})

    def terminate(self, timeout_s: float = END_S) -> int:
        """SIGTERM, then SIGKILL when it does not end in time."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        return self.wait()


class Sealed:
    """The namespaces. A context manager; also gone when this process is killed."""

    def __init__(self) -> None:
        problem = check()
        if problem:
            raise LabError(problem)
        self._lock = threading.Lock()
        left.remove_dead()
        self.directory, self._lock_of_directory = left.make()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        command = ["unshare", "-Urnmpf", "--kill-child", "--mount-proc", sys.executable, "-P", "-m", "lab.inside"]
        parent, fd = os.getpid(), theirs.fileno()

        def before() -> None:
            die_with(parent)
            os.dup2(fd, 3)

        self._log = (self.directory / "lab.log").open("wb")
        self._init = subprocess.Popen(
            command, preexec_fn=before, pass_fds=(3, fd), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,  # noqa: PLW1509 - it must die with its parent
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._control = mine
        self._control.settimeout(START_S)
        self._open = True
        try:
            ready = self._control.recv(4096)
        except TimeoutError:
            ready = b""
        if not ready:
            said = (self.directory / "lab.log").read_text("utf-8", "replace").strip()
            self.close()
            raise LabError(f"the lab's namespaces could not be made: {said[-400:] or 'no answer'}")
        self._control.settimeout(RUN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in it and remove its files."""
        if not self._open:
            return
        self._open = False
        self._control.close()
        self._init.kill()
        self._init.wait()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock_of_directory)

    def seen(self, path: Path) -> Path:
        """A path of the lab as it is reached from outside, below what only the lab has mounted too."""
        return Path(f"/proc/{self._init.pid}/root{path}")

    def ask(self, request: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """One request to the lab's process 1."""
        with self._lock:
            if not self._open:
                return {"returncode": -9}
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], list(fds))
                answer: dict[str, Any] = json.loads(self._control.recv(65536))
            except (OSError, ValueError) as error:
                raise LabError("the lab has ended") from error
        if "error" in answer:
            raise LabError(str(answer["error"]))
        return answer

    def spawn(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: IO[Any] | int | None = None,
        stdout: IO[Any] | int | None = None,
        stderr: IO[Any] | int | None = None,
        cwd: Path | None = None,
        drop_caps: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a process on a host ("" for the lab itself), without some capabilities if need be."""
        full = [*self._enter(host, drop_caps), *argv]
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(Path("/dev/null").open("r+b"))

            def number(given: IO[Any] | int | None) -> int:
                return null.fileno() if given is None else given if isinstance(given, int) else given.fileno()

            request = {
                "op": "spawn",
                "argv": full,
                "env": _environment() | dict(env or {}),
                "cwd": str(cwd or self.directory),
            }
            answer = self.ask(request, [number(stdin), number(stdout), number(stderr)])
        return Process(self, int(answer["pid"]), argv)

    def run(self, host: str, argv: Sequence[str], *, text: str = "", timeout_s: float = RUN_S, **more: Any) -> Finished:
        """Run a command on a host to its end."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(text.encode())
            given.seek(0)
            process = self.spawn(host, argv, stdin=given, stdout=out, stderr=err, **more)
            try:
                code = process.wait(timeout_s)
            except TimeoutError:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return Finished(
                tuple(argv), code, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace")
            )

    def _enter(self, host: str, drop_caps: Sequence[str]) -> list[str]:
        enter = ["ip", "netns", "exec", host] if host else []
        for name in ("hosts", "resolv.conf"):
            path = self.directory / name
            if host and path.exists():
                enter += ["sh", "-c", f'mount --bind "$0" /etc/{name} && exec "$@"', str(path)]
        if drop_caps:
            names = ",".join(f"-{name}" for name in drop_caps)
            enter += ["setpriv", f"--bounding-set={names}", f"--inh-caps={names}"]
        return enter


def check() -> str:
    """Why a lab cannot be built here, and the command that helps; "" when nothing speaks against it."""
    missing = sorted(package for command, package in NEEDED.items() if shutil.which(command, path=_path()) is None)
    if missing:
        return f"the lab needs {', '.join(missing)}: apt-get install {' '.join(missing)}"
    if _setting("user/max_user_namespaces") == "0":
        return "this kernel allows no user namespaces: sysctl -w user.max_user_namespaces=10000"
    if os.geteuid() != 0:
        if _setting("kernel/unprivileged_userns_clone") == "0":
            return "only root may make user namespaces here: sysctl -w kernel.unprivileged_userns_clone=1, or use sudo"
        if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
            return (
                "AppArmor restricts user namespaces here: "
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or use sudo"
            )
    tried = subprocess.run(
        ["unshare", "-Urnmpf", "--mount-proc", "true"], capture_output=True, text=True, check=False, env=_environment()
    )
    if tried.returncode:
        return (
            f"namespaces cannot be made here: {tried.stderr.strip()}. In a container its seccomp profile or missing "
            "privileges forbid it: run it with --privileged, or on the host"
        )
    return ""


def _setting(name: str) -> str:
    with contextlib.suppress(OSError):
        return (_SYSCTL / name).read_text("ascii").strip()
    return ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"


def _environment() -> dict[str, str]:
    """What a process of the lab inherits; the checkout stays importable from any directory."""
    keep = {
        name: value
        for name, value in os.environ.items()
        if name in ("HOME", "LANG", "TERM", "NO_COLOR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }
    return keep | {"PATH": f"{Path(sys.executable).parent}:{_path()}"}
