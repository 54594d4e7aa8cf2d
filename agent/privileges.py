"""The daemon's own user, and what it gives up: it verifies, spools and talks; only its packet child touches raw packets.

The daemon holds CAP_NET_RAW without using it itself, and hands it on to its packet child (ambient, capabilities(7)), to no other
program.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import stat
import sys
from pathlib import Path

from agent import child_user
from agent.childproc import FOR_CHILD
from agent.config import ConfigError
from wire.process.privileges import bound, give_up, harden, keep_over_user_change

OWN_USER = "segwatch"
PROGRAM = ((sys.executable, os.X_OK), (os.__file__, os.R_OK), (__file__, os.R_OK))
MOST_PROCESSES = 512  # threads count, and other agents of the same user


def settle(user: str, state_dir: Path) -> tuple[str, ...]:
    """Change to the user where that can be done, give up everything else; what is worth saying of it, in words.

    Args:
        user: a name; "" for `segwatch` where there is such a user, and to stay where there is none.
        state_dir: becomes the user's, with its files.

    Raises:
        ConfigError: there is no such user, or it cannot work from there.
    """
    entry, note = _whom(user)
    child = child_user.entry()
    if child is not None and not (is_mapped(child.pw_uid, "uid") and is_mapped(child.pw_gid, "gid")):
        child = None
    if entry is not None:
        give(state_dir, entry)
        _become(entry, child)
        _check(entry, state_dir)
    elif child is not None and child_user.keep(child) and os.geteuid() == 0:
        os.setgroups([])  # the child would have root's
    notes = [each for each in (note, _childs(child)) if each]
    return (*notes, *give_up(inherited=FOR_CHILD), *harden())


def _whom(user: str) -> tuple[pwd.struct_passwd | None, str]:
    """The user to change to, None to stay; why not, in words, where somebody may wonder."""
    here = os.geteuid()
    try:
        entry = pwd.getpwnam(user or OWN_USER)
    except KeyError:
        if user:
            raise ConfigError(f"there is no user '{user}'. To make one: useradd --system {user}") from None
        if here != 0:
            return None, ""
        if not is_mapped(1, "uid"):
            return None, "only one user is mapped into this namespace: it stays, without its capabilities"
        return (
            None,
            f"it stays root, without root's capabilities. To give it a user of its own: useradd --system {OWN_USER}",
        )
    if entry.pw_uid == here:
        return None, ""
    if here != 0:
        if user:
            raise ConfigError(
                f"only root can change to the user '{user}'; this is user {here}. Start it as one of the two"
            )
        return None, ""
    if not is_mapped(entry.pw_uid, "uid") or not is_mapped(entry.pw_gid, "gid"):
        return None, f"the user '{entry.pw_name}' is not mapped into this namespace: it stays, without its capabilities"
    return entry, ""


def is_mapped(number: int, kind: str) -> bool:
    """Whether the user namespace has such a user or group; True where the kernel does not say."""
    with contextlib.suppress(OSError):
        spans = (line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines())
        return any(int(first) <= number < int(first) + int(count) for first, _, count in spans)
    return True


def give(state_dir: Path, entry: pwd.struct_passwd) -> None:
    """Make a state directory and the plain files in it a user's.

    Their owner may have put anything there since: no link is followed.
    """
    for path in (state_dir, *state_dir.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            wanted = os.O_DIRECTORY if path == state_dir else os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | wanted)
            except OSError as error:
                if path == state_dir:
                    raise ConfigError(f"{path}: {error.strerror}") from error
                continue
            try:
                found = os.fstat(descriptor)
                if path == state_dir or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                    os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
            finally:
                os.close(descriptor)


def _become(entry: pwd.struct_passwd, child: pwd.struct_passwd | None) -> None:
    kept = child or entry
    bound(FOR_CHILD)
    keep_over_user_change()
    # The limit counts all of a user's processes; root has none.
    resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, MOST_PROCESSES))
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, kept.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, kept.pw_uid)


def _childs(child: pwd.struct_passwd | None) -> str:
    """Why the packet child does not get its user though there is one, in words; it has the daemon's then."""
    path = child_user.unreachable(PROGRAM)
    if child is None or not path:
        return ""
    child_user.drop()
    return f"the packet child keeps the daemon's user: '{child.pw_name}' cannot reach {path}"


def _check(entry: pwd.struct_passwd, state_dir: Path) -> None:
    """What it needs has to be within reach: its state, and the program itself, parts of which are read later."""
    for path, mode in (
        (str(state_dir), os.R_OK | os.W_OK | os.X_OK),
        *PROGRAM,
    ):
        if not os.access(path, mode):
            raise ConfigError(
                f"the user '{entry.pw_name}' cannot reach {path}: some directory above it is closed to others. "
                f"Put it elsewhere, such as below /var/lib or /opt, or give --user another user"
            )
