"""A Debian made here of the packages that this machine's own apt reaches, in namespaces that end with this process."""

from __future__ import annotations

import contextlib
import platform
import signal
import subprocess
from collections.abc import Iterator

# What is started so ends with this process, however that ends, and with it all that it has started and mounted.
ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
_SLIM = "--dpkgopt=path-exclude=/usr/share/{doc,man,locale,info}/*"


class DebianError(Exception):
    """Why none can be made."""


def make_root(target: str, packages: str, sources: str) -> tuple[str, ...]:
    """The command that makes one, of this machine's release.

    Args:
        target: a directory, or an archive (`.tar`).
        packages: what it holds besides the least, with commas between.
        sources: a file with what `apt_sources` gives.
    """
    made = ("--quiet", "--variant=minbase", f"--include={packages}", "--dpkgopt=force-unsafe-io")
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    return (*ALONE, "mmdebstrap", *made, _SLIM, release, target, sources)


def apt_sources() -> str:
    """The distribution's own packages from where this machine gets them, without those of third parties."""
    origin = platform.freedesktop_os_release()["ID"].capitalize()  # Debian, Ubuntu
    asked = ["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"]
    done = subprocess.run(
        [*asked, "Created-By: Packages", f"Origin: {origin}"], capture_output=True, text=True, check=False
    )
    lines = sorted(set(done.stdout.splitlines()))
    if not lines:
        raise DebianError(f"apt has no lists of {origin}'s packages: run apt-get update. A base is made of them")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does; while things are taken away nothing more is listened to."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def end(number: int, frame: object) -> None:
        for each in former:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    try:
        for each in former:
            signal.signal(each, end)
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
