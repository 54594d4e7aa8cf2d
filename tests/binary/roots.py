"""A host without Python: the root of an old release, made by mmdebstrap or handed in, and commands in it without a network."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT
from wire.messages import VERSION

FILE = ROOT / "dist" / f"segwatch-agent-{VERSION}-linux-{platform.machine()}"
PROGRAM = "/usr/local/bin/segwatch-agent"
CACHE = "var/cache/segwatch"
MADE = ROOT / ".stamps"
GIVEN = "BINARY_ROOT"
"""In the environment: a root of one's own, as a tar archive. Such as `podman export` makes of an image."""
OLDEST_FIRST = {
    "debian": ("stretch", "buster", "bullseye", "bookworm", "trixie"),
    "ubuntu": ("xenial", "bionic", "focal", "jammy", "noble"),
}
MODULE = "libnss-myhostname"  # one of the host's own that resolves names: the file's C library is to load it
HANGS_S = 240  # where many processes share two cores
MAKING_S = 600
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# $0: the root; $1: what is done to it first; $2: the user, "" for the one that it is. All of it ends with the command.
ENTER = """
ip link set lo up
cd "$0"
eval "$1"
for at in proc sys dev; do [ ! -d "$0/$at" ] || mount --rbind /$at "$0/$at"; done
user=${2:+--userspec=$2:$2}
shift 2
exec chroot $user "$0" "$@"
"""
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc", ENTER)


@dataclass(frozen=True, slots=True)
class Host:
    """A root with the file in it, at `PROGRAM`."""

    root: Path

    def run(
        self,
        *command: str,
        user: int | None = None,
        first: str = ":",
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end, in namespaces of its own; `first` is done before, outside, in the root's directory.

        Raises:
            AssertionError: it ended with another code (None: any).
        """
        entered = [*ALONE, str(self.root), first, str(user or ""), *command]
        given = {"PATH": PATH, "HOME": "/root", **(env or {})}
        done = subprocess.run(entered, env=given, capture_output=True, text=True, timeout=HANGS_S, check=False)
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def unpacked(self, below: str = CACHE) -> list[Path]:
        """What the file has unpacked there, and what it left behind."""
        place = self.root / below
        return sorted(place.iterdir()) if place.is_dir() else []

    def forget(self) -> None:
        """As if it had never been started."""
        subprocess.run(["rm", "-rf", self.root / CACHE, *(self.root / "tmp").iterdir()], check=True)


def archive() -> Path:
    """The root that was handed in, or the oldest release of this machine's distribution that its mirror has."""
    if given := os.environ.get(GIVEN):
        return Path(given)
    system = platform.freedesktop_os_release()["ID"]
    made = {release: MADE / f"root-{release}.tar" for release in OLDEST_FIRST[system]}
    if kept := next(filter(Path.is_file, made.values()), None):
        return kept
    mirror, problems = _mirror(system.capitalize()), []
    for release, file in made.items():
        source = f"deb {mirror} {release} main"
        unfinished = file.with_suffix(".new.tar")
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={MODULE}",
            release,
            str(unfinished),
            source,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MAKING_S, check=False)
        if done.returncode == 0:
            return unfinished.rename(file)
        unfinished.unlink(missing_ok=True)
        problems.append(f"{release}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    raise AssertionError("\n".join(("no release can be had:", *problems)))


def make(directory: Path, packed: Path | None) -> Host:
    """A host of that root; without one it is an empty directory but for the file."""
    if packed is not None:
        subprocess.run(["tar", "-xf", packed, "-C", directory, "--exclude=./dev/*"], check=True)
    for name in ("proc", "sys", "dev", "tmp", "usr/local/bin"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copy(FILE, directory / PROGRAM.lstrip("/"))
    return Host(directory)


def pythons(root: Path) -> Sequence[Path]:
    """Each interpreter in it, and each library of one."""
    found = [path for pattern in ("**/python[0-9]*", "**/python", "**/libpython*") for path in root.glob(pattern)]
    return [path for path in found if path.is_file() or path.is_symlink()]


def _mirror(origin: str) -> str:
    """Where this machine gets its distribution's packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run([*asked, f"Origin: {origin}", f"Label: {origin}"], capture_output=True, text=True, check=True)
    assert done.stdout, f"apt has no lists of {origin}'s packages: run apt-get update"
    return done.stdout.split()[0]
