"""What lies on this host: logs and the topology. Files are taken by name, and nothing is followed out of the state directory."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cli.support.archive import Archive, plain

LOG_TAIL = 2 * 1024 * 1024
MOST_TOPOLOGY = 4 * 1024 * 1024
_OVERLAP = 64 * 1024  # read before the tail, and cut off behind the filter: a secret that begins there is seen whole
_STRANGE = 20  # a text has fewer than one byte in so many that is none
_HOLDS_KEYS = re.compile(r"(?i).*\.(key|pem|sign|tar|p12|pfx|sqlite|sqlite-wal)|token|.*token")


def broker_log(archive: Archive, state_dir: Path) -> None:
    """The tail of the embedded broker's log."""
    name = "broker/broker.log"
    try:
        data, before = _tail(_open_inside(state_dir, *name.split("/")))
    except OSError as error:
        archive.lack(f"{name}: {_why(error)} in {state_dir}; a broker of your own has its own log")
        return
    archive.text("broker.log", "what the embedded broker logged last", data, before=before, most=LOG_TAIL)


def logs(archive: Archive, paths: Sequence[Path]) -> None:
    """The tails of the logs that were named."""
    for number, path in enumerate(paths, 1):
        if _HOLDS_KEYS.fullmatch(path.name):
            archive.lack(f"--log {path} is not taken: by its name it may hold a key or a token")
            continue
        try:
            data, before = _tail(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            archive.lack(f"--log {path}: {_why(error)}")
            continue
        if _is_text(data):
            what = "the ends of the logs that were named with --log"
            archive.text(f"logs/{number:02}-{plain(path.name)}", what, data, before=before, most=LOG_TAIL)
        else:
            archive.lack(f"--log {path}: it is no text, so that nothing could be found in it; unpack it first")


def topology(archive: Archive, file: str, digest: str, state_dir: Path) -> None:
    """The topology in force, where the file that the coordinator names is the one with this SHA-256."""
    why = "no such file or directory"
    for path in dict.fromkeys((Path(file), state_dir.parent / file)):
        try:
            data = _read(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), MOST_TOPOLOGY)
        except FileNotFoundError:
            continue
        except OSError as error:
            why = _why(error)
            continue
        if hashlib.sha256(data).hexdigest() == digest:
            archive.text("topology.yaml", "the topology in force, its comments included", data)
            return
        why = "what is there now is not the one in force"
    archive.lack(f"topology.yaml, which is {file} to the coordinator: {why}")


def _open_inside(root: Path, *parts: str) -> int:
    """Open a file in a directory, with no link on the way; OSError where that cannot be."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        is_last = part is parts[-1]
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (0 if is_last else os.O_DIRECTORY)
        try:
            inner = os.open(part, flags, dir_fd=at)
        finally:
            os.close(at)
        at = inner
    return at


def _tail(descriptor: int) -> tuple[bytes, int]:
    """The end of a file, and how many bytes stand before it."""
    with _plain(descriptor) as file:
        before = max(0, os.fstat(file.fileno()).st_size - LOG_TAIL - _OVERLAP)
        file.seek(before)
        return file.read(LOG_TAIL + _OVERLAP), before


def _read(descriptor: int, most: int) -> bytes:
    with _plain(descriptor) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(0, "too large")
        return file.read(most)


def _plain(descriptor: int) -> BinaryIO:
    """A file to read; OSError where it is a directory, a pipe or a device."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a plain file")
    return os.fdopen(descriptor, "rb")


def _is_text(data: bytes) -> bool:
    written = data.replace(b"\0", b"")  # those are what a power cut leaves at the end of a log
    return written.decode("utf-8", "replace").count("\ufffd") * _STRANGE <= len(written)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
