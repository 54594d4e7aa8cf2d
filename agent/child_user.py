"""The packet child's own user: the daemon keeps it as its saved user and group, for nothing but the child.

A process may take on its saved user without any capability (setresuid(2)), so the daemon needs none for that, however often it
starts a child. A daemon that was taken over can become the child, which may do less; the child cannot become the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import pwd
from collections.abc import Iterable, Iterator

from wire.process.privileges import keep_over_user_change

CHILD_USER = "segwatch-packets"
_SETRESUID = {"x86_64": 117, "aarch64": 147}
_AS_IT_IS = -1
_libc = ctypes.CDLL(None, use_errno=True)


def entry() -> pwd.struct_passwd | None:
    """The child's user; None where this host has none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(CHILD_USER)
    return None


def keep(child: pwd.struct_passwd) -> bool:
    """Keep it from now on; False where this process may not change users."""
    try:
        os.setresgid(_AS_IT_IS, _AS_IT_IS, child.pw_gid)
        os.setresuid(_AS_IT_IS, _AS_IT_IS, child.pw_uid)
    except PermissionError:
        os.setresgid(_AS_IT_IS, _AS_IT_IS, os.getegid())
        return False
    return True


def drop() -> None:
    """Keep it no more: the child will have the daemon's."""
    os.setresgid(_AS_IT_IS, _AS_IT_IS, os.getegid())
    os.setresuid(_AS_IT_IS, _AS_IT_IS, os.geteuid())


def unreachable(needed: Iterable[tuple[str, int]]) -> str:
    """The first of these (path, mode as of access(2)) that it cannot reach; "" where it can reach all, or is not kept."""
    with taken_on():
        return next((path for path, mode in needed if not os.access(path, mode, effective_ids=True)), "")


def become() -> None:
    """Change to it for good where it is kept, with the capabilities that may be handed on; between fork and exec."""
    if (user := _kept()) is None:
        return
    keep_over_user_change()
    group = os.getresgid()[2]
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


@contextlib.contextmanager
def taken_on() -> Iterator[None]:
    """This thread may signal the child meanwhile, and may do no more than it."""
    user = _kept()
    if user is None:
        yield
        return
    mine = os.geteuid()
    _act_as(user)
    try:
        yield
    finally:
        _act_as(mine)


def _kept() -> int | None:
    _, mine, kept = os.getresuid()
    return None if kept == mine else kept


def _act_as(user: int) -> None:
    """Of this thread alone, where the number of the call is known: the C library changes all threads."""
    number = _SETRESUID.get(platform.machine())
    if number is None:
        os.seteuid(user)
    elif _libc.syscall(ctypes.c_long(number), ctypes.c_long(-1), ctypes.c_long(user), ctypes.c_long(-1)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
