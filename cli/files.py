"""Files that a command reads from a pipe, and writes whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

from cli.errors import Problem

STDIN = Path("-")


def piped(path: Path, most: int) -> bytes | None:
    """What comes down a pipe, at most one byte more than `most`: `-` is standard input; None for a path that is no pipe."""
    if path == STDIN:
        return sys.stdin.buffer.read(most + 1)
    try:
        if not stat.S_ISFIFO(path.stat().st_mode):
            return None
        with path.open("rb") as pipe:
            return pipe.read(most + 1)
    except (OSError, ValueError):
        return None  # whoever opens it as a file says why not


def check_writable(path: Path) -> None:
    """Problem when `replace_file` could not write there."""
    directory = path.parent
    if path.is_dir():
        raise Problem(f"{path} is a directory", "Name a file.")
    if not directory.is_dir():
        raise Problem(f"{path} cannot be written: there is no directory {directory}", f"Make it: mkdir -p {directory}")
    target = path if _is_special(path) else directory
    if not os.access(target, os.W_OK):
        raise Problem(f"{path} cannot be written: no permission for {target}")


def replace_file(path: Path, text: str) -> None:
    """Write a text to a file, at once: a reader sees the old one or the new one. A device or pipe is written to."""
    temporary, data = path.with_name(f".{path.name}.{os.getpid()}"), text.encode("utf-8", "replace")
    try:
        if _is_special(path):
            path.write_bytes(data)
            return
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise Problem(f"{path} cannot be written: {error.strerror}") from error


def check_new(path: Path) -> None:
    """Problem when `create_private` could not write there."""
    if path.exists() or path.is_symlink():
        raise _exists(path)
    check_writable(path)


def create_private(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone can read, whole or not at all; Problem where something is there already."""
    create(path, data, 0o600)


def create(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a new file, as `create_private` does; its mode as the umask leaves it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise Problem(f"{path} cannot be written: {error.strerror}", "Name another place with --out.") from error
        raise


def _exists(path: Path) -> Problem:
    return Problem(f"{path} exists already, and is left as it is", "Name a new file with --out, or move that one away.")


def _is_special(path: Path) -> bool:
    """Whether something is there that a file must not take the place of, such as /dev/stdout."""
    return path.exists() and not path.is_file()
