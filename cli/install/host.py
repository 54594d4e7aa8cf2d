"""Where something is installed: this host or a staging directory; each step is done and said, or only said."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.privileges import give
from cli.errors import Problem
from wire.keyfiles import write_private

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True, slots=True)
class Host:
    """Paths are the host's own, absolute; `root` is the staging directory that they are below, None for the host itself."""

    root: Path | None
    dry_run: bool
    say: Callable[[str], None]

    @property
    def is_live(self) -> bool:
        """Whether users, owners and the running systemd are to be touched: not in a staging directory."""
        return self.root is None

    def at(self, path: PurePosixPath) -> Path:
        """Where it is now."""
        return Path(path) if self.root is None else self.root / path.relative_to("/")

    def put(self, path: PurePosixPath, data: bytes, mode: int = 0o644) -> None:
        """A file, whole or not at all; nothing happens when it is there as it should be."""
        file = self.at(path)
        held = file.read_bytes() if file.is_file() else None
        if held == data:
            self.say(f"unchanged  {path}")
            return
        self.say(f"{'write' if held is None else 'replace':<10} {path}")
        if not self.dry_run:
            self._parents(file)
            write_private(file, data, mode)
            file.chmod(mode)  # whatever the umask

    def holds(self, path: PurePosixPath, data: bytes) -> bool:
        """Whether a file is there and says just this."""
        file = self.at(path)
        return file.is_file() and file.read_bytes() == data

    def directory(self, path: PurePosixPath, mode: int = 0o700) -> None:
        """A directory."""
        place = self.at(path)
        if place.is_dir():
            self.say(f"unchanged  {path}/")
            return
        self.say(f"{'make':<10} {path}/")
        if not self.dry_run:
            self._parents(place)
            place.mkdir(mode=mode)

    def remove(self, path: PurePosixPath) -> None:
        """A file, a link, or a directory with all that is in it; nothing happens when it is not there."""
        place = self.at(path)
        if not place.is_symlink() and not place.exists():
            return
        is_tree = place.is_dir() and not place.is_symlink()
        self.say(f"{'remove':<10} {path}{'/' if is_tree else ''}")
        if self.dry_run:
            return
        if is_tree:
            shutil.rmtree(place)
        else:
            place.unlink()

    def remove_empty(self, path: PurePosixPath) -> None:
        """A directory in which nothing is left."""
        place = self.at(path)
        if not self.dry_run and place.is_dir() and not any(place.iterdir()):
            place.rmdir()

    def make_user(self, name: str, described: PurePosixPath) -> None:
        """A system user, as its sysusers.d(5) file says. A staging directory's are made when it boots."""
        if self.is_live and not _is_user(name):
            self._run("systemd-sysusers", str(described))

    def remove_user(self, name: str) -> None:
        """The user, where there is one."""
        if self.is_live and _is_user(name):
            self._run("userdel", name)

    def give(self, path: PurePosixPath, user: str) -> None:
        """A directory and the plain files in it become a user's. In a staging directory systemd does it at the start."""
        if self.is_live and not self.dry_run:
            give(self.at(path), pwd.getpwnam(user))

    def systemctl(self, *arguments: str, may_fail: bool = False) -> None:
        """Tell the systemd that runs this host; nothing where none does."""
        if self.is_live and _BOOTED.is_dir():
            self._run("systemctl", *arguments, may_fail=may_fail)

    def _parents(self, path: Path) -> None:
        missing = [parent for parent in path.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o755)
            parent.chmod(0o755)  # whatever the umask: the unit's user goes through it

    def _run(self, *command: str, may_fail: bool = False) -> None:
        self.say(f"{'run':<10} {' '.join(command)}")
        if self.dry_run:
            return
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Problem(f"there is no {command[0]} on this host", "The units need systemd 247 or later.") from None
        if done.returncode and not may_fail:
            raise Problem(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")


def check_may(host: Host) -> None:
    """Problem when this user cannot install on this host."""
    if host.is_live and not host.dry_run and os.geteuid() != 0:
        raise Problem(
            "only root can do this on the host itself",
            "See what it would do: --dry-run. Into a staging directory: --root DIR",
        )


def check_systemd(host: Host) -> None:
    """Problem when the units could neither be put in place nor started here."""
    if not host.is_live or host.dry_run:
        return
    elsewhere = (
        "Into an image that systemd will boot: --root DIR. Else supervise segwatch agent or coordinator yourself."
    )
    if not _BOOTED.is_dir():
        raise Problem("systemd does not run this host, so that nothing would start the units", elsewhere)
    for tool in ("systemctl", "systemd-sysusers"):
        if shutil.which(tool) is None:
            raise Problem(f"there is no {tool} on this host: the units need systemd 247 or later", elsewhere)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
