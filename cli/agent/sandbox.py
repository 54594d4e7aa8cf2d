"""What `segwatch agent --check` says of privileges: tried by processes that give up what the daemon and its child do."""

from __future__ import annotations

import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent.identity import ALLOW, LACKS_NET_RAW, lacks_netlink
from agent.privileges import is_mapped
from agent.selfcheck import Sandbox
from cli.agent.line import Line
from wire.process.privileges import Capability, Held, mask

GRANT = "To grant it: AmbientCapabilities=CAP_NET_RAW in the unit, or run it as root."
RAW = mask(Capability.NET_RAW)


def lines(state_dir: Path, user: str) -> Iterator[Line]:
    """Netlink, raw packets, user, privileges, sandbox."""
    if why := lacks_netlink():
        yield Line("netlink", "", (f"{why}: an agent cannot start, and nothing more was tried.", ALLOW))
        return
    yield Line("netlink", "AF_NETLINK: it can read this host's addresses and routes")
    command = [sys.executable, "-P", "-m", "agent.selfcheck", str(state_dir), user]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        yield Line("user", "", (f"a daemon cannot start: {said[-1] if said else f'code {done.returncode}'}",))
        return
    found = msgspec.json.decode(done.stdout, type=Sandbox)
    if found.daemon is None or found.child is None:
        yield Line("user", "", (found.problem,))
        return
    yield _raw(found.raw_lacks)
    yield _user(found.daemon, found.child, found.notes)
    yield _privileges(found.daemon, found.child)
    yield _sandbox(found)
    yield _files(found.files)


def _raw(lacks: str) -> Line:
    if lacks:
        return Line(
            "raw packets",
            "",
            (
                f"{lacks}: no witness here, and cells that need one will be inconclusive.",
                GRANT if LACKS_NET_RAW in lacks else ALLOW,
            ),
        )
    return Line("raw packets", "AF_PACKET, CAP_NET_RAW: it can witness, and send raw")


def _user(daemon: Held, child: Held, notes: tuple[str, ...]) -> Line:
    childs = "the same" if child.user == daemon.user else _name(child.user)
    both = f"{_name(daemon.user)}, packet child {childs}"
    if daemon.user != 0:
        return Line("user", both, notes)
    if not is_mapped(1, "uid"):
        return Line("user", f"{both}: the only one that is mapped into this namespace")
    return Line("user", both, notes)


def _name(user: int) -> str:
    try:
        return f"{pwd.getpwuid(user).pw_name} ({user})"
    except KeyError:
        return f"no name ({user})"


def _files(lacks: str) -> Line:
    within = "packet child reads its own program and /proc, writes nothing (Landlock)"
    return Line("files", within if not lacks else f"packet child reads and writes what its user may: {lacks}")


def _privileges(daemon: Held, child: Held) -> Line:
    lacks = [f"{who} could gain more" for who, held in _both(daemon, child) if not held.no_new_privileges]
    if daemon.effective or daemon.permitted & ~RAW:
        lacks.append(f"the daemon holds capabilities: {daemon.permitted:x}")
    if child.permitted & ~RAW:
        lacks.append(f"the packet child holds more than CAP_NET_RAW: {child.permitted:x}")
    has = "CAP_NET_RAW" if child.effective == RAW else "none"
    return Line("privileges", f"daemon none, packet child {has}; neither can gain any", tuple(lacks))


def _sandbox(found: Sandbox) -> Line:
    assert found.child is not None
    lacks = list(found.child_notes)
    if found.dumpable:
        lacks.append("other processes of its user could read its keys: it is dumpable")
    if not found.child.filtered and not lacks:
        lacks.append("the packet child has no seccomp filter")
    return Line(
        "sandbox", "packet child starts no program and offers no service (seccomp); no core dumps", tuple(lacks)
    )


def _both(daemon: Held, child: Held) -> tuple[tuple[str, Held], tuple[str, Held]]:
    return ("the daemon", daemon), ("its packet child", child)
