"""The store's file: one process at a time writes it; a transaction is whole on disk or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from coordinator.store.schema import INCREMENTAL, SCHEMA, migrate, version_of

STORE, LOCK = "store.sqlite", "lock"
MOST_LEFT_IN_WAL = 16 * 1024 * 1024  # bytes that the write-ahead log keeps after a long transaction
FREE_PAGES, PAGES_A_TIME = 512, 2048  # 2 MiB are left for new rows, 8 MiB go back at a time
LEAST_ROOM = 256 * 1024  # bytes; with less than that a failing write or a log's index is the disk's fault
BUSY_S = 30.0  # a check or backup holds a lock for moments


class StoreError(Exception):
    """The store cannot be used or written; the text says why, for people."""


class File:
    """The open file and its lock. `reads` sees what is committed, and waits for no thread that writes by `db`."""

    def __init__(self, state_dir: Path) -> None:
        """StoreError when another process has it, or it cannot be read."""
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = lock(state_dir)
        except OSError as error:
            raise StoreError(f"{error.filename or state_dir}: {error.strerror}") from error
        self._writes = threading.Lock()
        self.path = path = state_dir / STORE
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let others read it
            # Threads write one after the other.
            self.db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
            try:
                self._prepare()
                self.reads = _reading(path)
            except BaseException:
                self.db.close()
                raise
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreError(unreadable(path, error)) from error
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{path}: {error.strerror}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close it and let another coordinator have it."""
        self.reads.close()
        self.db.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; StoreError where the disk does not take it, and then nothing of it is there."""
        try:
            with self._writes:
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    yield self.db
                    self.db.execute("COMMIT")
                except BaseException:
                    if self.db.in_transaction:  # a full disk may have ended it already
                        self.db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise StoreError(unwritable(self.path, error)) from error

    def shrink(self) -> None:
        """Give free pages back to the disk, some at a time: nothing else is written meanwhile."""
        try:
            with self._writes:
                (free,) = self.db.execute("PRAGMA freelist_count").fetchone()
                if free > FREE_PAGES:
                    # A script, as the pragma frees a page a step and has no rows to be fetched.
                    self.db.executescript(f"PRAGMA incremental_vacuum({min(PAGES_A_TIME, free - FREE_PAGES)});")
        except sqlite3.Error as error:
            raise StoreError(unwritable(self.path, error)) from error

    def _prepare(self) -> None:
        db, version = self.db, version_of(self.db)
        refuse_newer(self.path, version)
        db.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")  # before the first table; of an older file, see below
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {MOST_LEFT_IN_WAL}")
        migrate(db)
        if db.execute("PRAGMA auto_vacuum").fetchone()[0] != INCREMENTAL:
            with contextlib.suppress(sqlite3.Error):  # it needs twice the room, once: without it the file only grows
                db.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
                db.execute("VACUUM")


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """One moment of a store's file, from any process; sqlite3.Error where it cannot be had."""
    db = _reading(path)
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S)


def lock(state_dir: Path) -> int:
    """Take the state directory for this process; StoreError names the one that has it. Close the descriptor to let go."""
    fd = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StoreError(
            f"{state_dir} is in use by another coordinator (process {holder or 'unknown'}). "
            "Stop that one, or give this one a --state-dir of its own."
        ) from error
    os.ftruncate(fd, 0)
    with contextlib.suppress(OSError):  # a full disk: then nobody is told who has it
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def is_full(path: Path, error: sqlite3.Error) -> bool:
    """Whether the disk is what is wrong: SQLite calls it an I/O error where the index of its log finds no room."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code == sqlite3.SQLITE_FULL or "full" in str(error):
        return True
    return code & 0xFF == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < LEAST_ROOM


def unwritable(path: Path, error: sqlite3.Error) -> str:
    """What to say of a file that takes nothing."""
    what = ". Free space there; agents keep what they have meanwhile" if is_full(path, error) else ""
    return f"the store cannot be written: {_named(path, error)}{what}"


def refuse_newer(path: Path, version: int) -> None:
    """StoreError for a file that a newer segwatch has migrated: it is sound, and of no use here."""
    if version > SCHEMA:
        raise StoreError(
            f"{path} is of a newer segwatch: its schema version is {version}, this one knows {SCHEMA}. Install that one"
            " again, or restore a backup from before: segwatch store restore FILE --state-dir DIR"
        )


def unreadable(path: Path, error: sqlite3.Error) -> str:
    """What to say of a file that does not open."""
    what = "Free space there." if is_full(path, error) else "Move it away to begin anew, or restore a backup."
    return f"{path} cannot be read: {_named(path, error)}. {what}"


def _named(path: Path, error: sqlite3.Error) -> str:
    return f"{error}: the disk is full" if is_full(path, error) and "full" not in str(error) else str(error)
