"""What the packet child can do on its host, tried from the inside, and whose it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback import open_to_all
from tests.loopback.childs_user import CHILDS_USER, LANDLOCK, SHOWN, with_childs_user

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")

INSIDE = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from probes.host import privileges
assert privileges.confine().notes == (), "what could not be done"

def refused(what, attempt):
    try:
        attempt()
    except OSError as error:
        print(what, error.errno)
    else:
        print(what, "done")

refused("execve", lambda: os.execv("/bin/true", ["true"]))
refused("fork", os.fork)
refused("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
refused("subprocess", lambda: subprocess.run(["true"]))
refused("listen", lambda: socket.create_server(("127.0.0.1", 0)))
refused("another family", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
refused("chroot", lambda: os.chroot("/"))
refused("setns", lambda: os.setns(os.open("/proc/self/ns/net", os.O_RDONLY)) if hasattr(os, "setns") else os.chroot("/"))
refused("a user", lambda: os.setuid(12345) if os.getuid() == 0 else os.chroot("/"))
thread = threading.Thread(target=lambda: print("thread done"))
thread.start()
thread.join()
import numpy, probes.packets.build
print("packets" if socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) else "")
print(len(Path("/proc/self/net/tcp").read_text()) > 0, len(os.listdir("/proc/self/fd")) > 2)
"""


def test_the_packet_child_starts_no_program_no_process_and_no_service() -> None:
    done = subprocess.run([sys.executable, "-c", INSIDE], capture_output=True, text=True, check=False)
    refused = ["execve", "fork", "posix_spawn", "subprocess", "listen", "chroot", "setns", "a user"]
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:9] == [f"{what} 1" for what in refused[:5]] + ["another family 97"] + [
        f"{what} 1" for what in refused[5:]
    ]
    assert lines[9:] == ["thread done", "packets", "True True"]


FILES = """
import os, sys, threading
from pathlib import Path
from probes.host import privileges
assert privileges.confine().files == "", "Landlock is there"

def refused(what, attempt):
    try:
        attempt()
    except OSError as error:
        print(what, error.strerror)
    else:
        print(what, "done")

for path in ("/etc/shadow", "/etc/passwd", sys.argv[1]):
    refused("read", lambda: open(path).read())
refused("list", lambda: os.listdir("/etc"))
refused("write", lambda: open(sys.argv[1], "a"))
refused("make", lambda: open(sys.argv[1] + ".new", "w"))
refused("remove", lambda: os.remove(sys.argv[1]))
refused("signal", lambda: os.kill(os.getppid(), 0))
thread = threading.Thread(target=lambda: refused("thread", lambda: open(sys.argv[1])))
thread.start()
thread.join()
import numpy, probes.packets.build, zoneinfo
print(zoneinfo.ZoneInfo("Europe/Berlin"), len(Path("/proc/self/net/tcp").read_text()) > 0)
"""


@pytest.mark.skipif(not LANDLOCK, reason="this kernel has no Landlock")
def test_the_packet_child_reads_and_writes_no_file_of_the_host(tmp_path: Path) -> None:
    """Be it root's, and the child root."""
    private = tmp_path / "private"
    private.write_text("a key")
    private.chmod(0o644)
    done = subprocess.run([sys.executable, "-c", FILES, private], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    tried = ["read"] * 3 + ["list", "write", "make", "remove"]
    *lines, thread, last = done.stdout.splitlines()
    assert lines[: len(tried)] == [f"{what} Permission denied" for what in tried]
    assert lines[len(tried) :] in ([], ["signal Operation not permitted"], ["signal done"])
    assert (thread, last) == ("thread Permission denied", "Europe/Berlin True")
    assert private.read_text() == "a key"


KILLED = """
import asyncio, os, sys
from pathlib import Path
from agent.childproc import PacketChild
from agent.journal import open_log
from agent.privileges import settle
from probes.child.protocol import Configure
from wire.messages import Close
from wire.process.privileges import Held

print(*settle("nobody", Path(sys.argv[1])))

async def main():
    child = PacketChild(
        lambda: Configure(agent="a"), heard=print, died=print, log=open_log("a", as_json=True), command=("sleep", "600")
    )
    running = asyncio.create_task(child.run())
    child.tell(Close(round="r"))
    child.set_busy(True)
    while not child.pid:
        await asyncio.sleep(0.01)
    print(Held.read(child.pid).user)
    child.stop_within(0.0)
    async with asyncio.timeout(20):
        while child.pid:
            await asyncio.sleep(0.01)
    print(os.getresuid(), child.pid)
    running.cancel()

asyncio.run(main())
"""


@AS_ROOT
def test_a_packet_child_of_another_user_that_hangs_is_killed_and_the_daemon_stays_who_it_is(open_path: Path) -> None:
    command = [sys.executable, open_to_all.__file__, *with_childs_user(), sys.executable, "-c", KILLED, str(open_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["", str(CHILDS_USER), f"({NOBODY}, {NOBODY}, {CHILDS_USER}) 0"], done.stderr


@AS_ROOT
@pytest.mark.parametrize("user", ["", "nobody"])
def test_check_says_whose_the_packet_child_is(open_path: Path, user: str) -> None:
    """Root without a user of its own keeps one for its packet child all the same."""
    command = [
        sys.executable,
        open_to_all.__file__,
        *with_childs_user(),
        sys.executable,
        "-c",
        SHOWN,
        str(open_path),
        user,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, raw, line, privileges, *_ = done.stdout.splitlines()
    daemons = f"nobody ({NOBODY})" if user else "root (0)"
    assert f"{daemons}, packet child segwatch-packets ({CHILDS_USER})" in line
    assert "CAP_NET_RAW: it can witness" in raw
    assert "daemon none, packet child CAP_NET_RAW; neither can gain any" in privileges
    assert "lacks=()" in privileges
