"""What the packet child may read: its own program and what that needs, nothing that an agent keeps."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import numpy as np
import pytest

import probes
from probes.host import landlock


def within(path: str | Path) -> bool:
    """Whether it may be read."""
    real = Path(path).resolve()
    return any(real.is_relative_to(Path(each).resolve()) for each in landlock.readable())


def test_its_own_program_and_what_that_needs() -> None:
    for needed in (probes.__file__, np.__file__, os.__file__, "/proc/self/net/tcp"):
        assert within(needed)


def test_nothing_else() -> None:
    for other in ("/etc/shadow", "/etc/passwd", "/var/lib/segwatch/agent.key", "/run", "/dev/mem", "/home"):
        assert not within(other)
    assert "" not in landlock.readable(), "the current directory is what it was started in"


class Lacking:
    """Stands for the C library on a kernel without it."""

    def __init__(self, *_: object, **__: object) -> None:
        """Nothing is loaded."""

    def syscall(self, *_: object) -> int:
        return -1


def test_of_a_kernel_without_it_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Lacking)
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.ENOSYS)
    assert landlock.install() == "no Landlock: Function not implemented"
