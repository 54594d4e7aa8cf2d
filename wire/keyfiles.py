"""Key files: written whole and for their owner only; refused where others could read or replace them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_WRITTEN = ("store.sqlite*", "spool.sqlite*", "agent.json", "clock", "lock")  # in a state directory, besides a broker's


class Exposed(Exception):  # noqa: N818 - reads as what it is
    """A key that others can read or replace; the text says which, and the command that fixes it."""


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole file or none, on disk when this returns, with its mode from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # root writes where an agent's own user could have put a link
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def check_key(path: Path) -> None:
    """Exposed when others can read or write the file; OSError when it is not there."""
    if path.stat().st_mode & 0o077:
        raise Exposed(f"{path} can be read by others. Fix it: chmod 600 {path}")


def keep_private(state_dir: Path) -> None:
    """From now on all that this process and its children write is their user's alone, whatever folder it is in.

    So is what an earlier version left in the state directory; not keys and tokens, for who could read one has it, and
    `check_key` says so, and nothing that somebody else has put there.
    """
    os.umask(0o077)
    for path in _written(state_dir):
        with contextlib.suppress(OSError):  # gone meanwhile; or another user's, who may read it anyhow
            if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077:
                path.chmod(stat.S_IMODE(mode) & 0o700)


def _written(state_dir: Path) -> Iterator[Path]:
    for pattern in _WRITTEN:
        yield from state_dir.glob(pattern)
    # Another coordinator's broker may be at work there: a directory that is gone meanwhile is passed over.
    for folder, folders, files in os.walk(state_dir / "broker"):
        yield from (Path(folder, name) for name in (*folders, *files))


def check_directory(path: Path) -> None:
    """Exposed when others could replace what is in the directory: it, or one above it, is writable for them.

    A sticky one (such as /tmp) lets nobody touch what is not theirs. Directories that are not there yet are passed over.
    """
    absolute = path.absolute()
    for directory in dict.fromkeys((absolute, *absolute.parents, *_above(absolute.resolve()))):
        try:
            mode = directory.stat().st_mode
        except FileNotFoundError:
            continue
        if mode & 0o022 and not mode & stat.S_ISVTX:
            raise Exposed(
                f"{directory} can be written by others, who could replace the keys in {path}."
                f" Fix it: chmod go-w {directory}"
            )


def _above(path: Path) -> tuple[Path, ...]:
    return (path, *path.parents)
