"""Docker for the compose test: the daemon that runs, or one in a network namespace of its own, and a base without a registry."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.debian import ALONE, apt_sources, make_root, told_to_end
from tests.support.paths import ROOT

PULLED, MADE = "python:3.11-slim-bookworm", "segwatch-base:test"
# What the hosts of the estate need, and segwatch's image is built with.
PACKAGES = "python3,python3-venv,nftables,iproute2,redis-server,nginx-light,openssl,ca-certificates"
READY_S, STOP_S, PULL_S = 60.0, 20.0, 90.0
STEP_S = 600.0  # a hang guard: a base takes five minutes where two processors carry other loads too
# No packet of a container can reach the machine's own interface: there is none. Bridged packets are the router's business alone.
DAEMON = """
ip link set lo up
bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
[ ! -e $bridged ] || echo 0 >$bridged
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/sock" --log-level warn
"""


class DockerError(Exception):
    """A step that failed, with what it printed."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A daemon to talk to. `is_own`: started here, without a network; its images are gone with it."""

    environment: Mapping[str, str]
    is_own: bool
    compose_command: tuple[str, ...]
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)  # for the compose file
    daemon: int = 0  # its process, where it was started here

    def run(
        self, *command: str, code: int | None = 0, within_s: float = STEP_S, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end; DockerError when it ends with another code (None: any) or does not end."""
        environment = {**self.environment, **self.settings}
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                input=given,
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DockerError(f"{' '.join(command)} still runs after {within_s:.0f} s") from error
        if code is not None and done.returncode != code:
            raise DockerError(
                f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def inside(self, service: str, *command: str, given: str = "") -> str:
        """What a command prints in a service's container. Without docker-compose, which takes a second to start."""
        labels = {"project": self.settings["COMPOSE_PROJECT_NAME"], "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        container = self.run("docker", "ps", "--quiet", *filters).stdout.strip()
        return self.run("docker", "exec", "-i", container, *command, given=given).stdout

    @contextlib.contextmanager
    def bridged_frames_filtered(self) -> Iterator[Callable[[], int]]:
        """As on a machine with br_netfilter: frames between ports of a bridge pass iptables, where DOCKER-USER lets them through.

        Gives how many did so far.
        """
        within = ("nsenter", "--target", str(self.daemon), "--net", "sh", "-euc")
        accept = "DOCKER-USER -m physdev --physdev-is-bridged -j ACCEPT"
        switch = "for file in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do echo {} >$file; done"

        def accepted() -> int:
            listed = self.run(*within, "iptables -nvxL DOCKER-USER").stdout
            return sum(int(line.split()[0]) for line in listed.splitlines() if "is-bridged" in line)

        self.run(*within, f"iptables -I {accept}; {switch.format(1)}")
        try:
            yield accepted
        finally:
            self.run(*within, f"{switch.format(0)}; iptables -D {accept}")

    def compose(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A command of docker-compose on the project."""
        return self.run(*self.compose_command, "-f", "docker-compose.test.yml", *arguments, code=code)


def why_not() -> str:
    """Why Docker cannot be used here; "" when it can."""
    reached = _is_reached(_environment())
    if reached and not _filters_bridges():
        return ""
    if os.geteuid() != 0:
        why = (
            "the Docker daemon filters what a router forwards (br_netfilter)"
            if reached
            else "no Docker daemon is reached"
        )
        return f"{why}, and only root can start one of the test's own"
    missing = [name for name in ("dockerd", "docker", "mmdebstrap") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def docker() -> Iterator[Docker]:
    """The daemon. Whatever happens, nothing that was started here outlives the block."""
    with told_to_end(), tempfile.TemporaryDirectory(prefix="segwatch-docker-", ignore_cleanup_errors=True) as made:
        directory, environment = Path(made), {**_environment(), "TMPDIR": made}
        directory.chmod(0o711)  # apt reads what mmdebstrap unpacks as a user of its own
        own = not _is_reached(environment) or _filters_bridges()
        with _daemon(directory) if own else contextlib.nullcontext(0) as daemon:
            if own:
                environment["DOCKER_HOST"] = f"unix://{directory}/sock"
            plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, env=environment, check=False)
            command = ("docker", "compose") if plugin.returncode == 0 else ("docker-compose",)
            yield Docker(environment, own, command, directory, daemon=daemon)


def make_base(engine: Docker) -> str:
    """The name of the image that the others are built from: pulled where that can be had, else made of Debian's packages."""
    if not engine.is_own:
        with contextlib.suppress(DockerError):
            engine.run("docker", "pull", "-q", PULLED, within_s=PULL_S)
            return PULLED
    archive = engine.directory / "base.tar"
    sources = engine.directory / "sources.list"
    sources.write_text(apt_sources())
    engine.run(*make_root(str(archive), PACKAGES, str(sources)))
    engine.run("docker", "import", str(archive), MADE)
    archive.unlink()
    return MADE


@contextlib.contextmanager
def wheels(engine: Docker, base: str) -> Iterator[None]:
    """Where no registry is reached, the build reaches no index either: what the lock files name, in `wheels/`, for the base's Python."""
    if base == PULLED:
        yield
        return
    directory = ROOT / "wheels"
    version = engine.run(
        "docker", "run", "--rm", "--network", "none", base, "python3", "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])",
    ).stdout.strip()  # fmt: skip
    locks = [part for name in ("requirements.lock", "requirements.build.lock") for part in ("-r", name)]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    try:
        engine.run(*download, "--only-binary", ":all:", "--python-version", version, *locks, "-d", str(directory))
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    return {**kept, "DOCKER_BUILDKIT": kept.get("DOCKER_BUILDKIT", "0")}  # a daemon of Debian's has no other builder


def _is_reached(environment: Mapping[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    asked = ["docker", "version", "--format", "{{json .Server}}"]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, timeout=30, check=False)
    with contextlib.suppress(ValueError):
        return done.returncode == 0 and bool(json.loads(done.stdout))
    return False


def _filters_bridges() -> bool:
    """Whether the daemon's own rules would drop what one container sends another through a router."""
    try:
        return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").read_text().strip() == "1"
    except OSError:
        return False


@contextlib.contextmanager
def _daemon(directory: Path) -> Iterator[int]:
    """A daemon in namespaces of its own, which end with this process however that ends; its process."""
    with (directory / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [*ALONE, "--net", "--mount-proc", "sh", "-euc", DAEMON, "dockerd", str(directory)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _until(lambda: _answers(process, directory), f"dockerd, whose log is\n{_tail(directory)}")
        yield _child(process)
    finally:
        with contextlib.suppress(OSError, ValueError):
            _ask_to_end(directory, process)
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], directory: Path) -> bool:
    if process.poll() is not None:
        raise DockerError(f"dockerd ended with {process.returncode}:\n{_tail(directory)}")
    return _is_reached({**_environment(), "DOCKER_HOST": f"unix://{directory}/sock"})


def _ask_to_end(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM: it takes its containers, mounts and control groups away."""
    os.kill(_child(process), signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)


def _child(process: subprocess.Popen[bytes]) -> int:
    """The daemon: the only child of `unshare`."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def _tail(directory: Path) -> str:
    with contextlib.suppress(OSError):
        return (directory / "dockerd.log").read_text(errors="replace")[-2000:]
    return ""


def _until(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + READY_S
    while not ready():
        if time.monotonic() > until:
            raise DockerError(f"gave up waiting for {what} after {READY_S:.0f} s")
        time.sleep(0.1)
