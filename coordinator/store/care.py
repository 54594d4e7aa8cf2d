"""Checking, backing up and restoring a store from another process, while the coordinator runs or not.

A reader of a file in WAL mode sees one moment of it and holds up no writer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from coordinator.store.codec import decode
from coordinator.store.file import STORE, StoreError, lock, read_only, refuse_newer
from coordinator.store.schema import SCHEMA, version_of
from reachability.arrival import WitnessReport
from reachability.life import Event, Finding
from reachability.matrix import Judged
from reachability.observation import KeptPacket, Lookup, SourceReport
from reachability.round_data import RoundSpec

MOST_PROBLEMS = 20
# table -> what its bodies are; of reports, by their kind
_BODIES: dict[str, tuple[str, Any]] = {
    "rounds": ("spec", RoundSpec),
    "reports": ("body", {"witness": WitnessReport}),
    "packets": ("body", tuple[KeptPacket, ...]),
    "cells": ("judged", Judged),
    "findings": ("body", Finding),
    "events": ("body", Event),
    "lookups": ("body", Lookup),
}
_COUNTED = (*_BODIES, "spools", "gaps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a store file holds, and what is wrong with it."""

    path: Path
    schema: int = 0
    bytes: int = 0
    free_bytes: int = 0  # of it, waiting for new rows
    wal_bytes: int = 0
    rows: dict[str, int]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(path: Path) -> Checked:
    """Read every page and every value; StoreError where there is no such file or it may not be read."""
    wal = path.with_name(f"{path.name}-wal")
    sizes = {"bytes": _size(path), "wal_bytes": wal.stat().st_size if wal.exists() else 0}
    problems: list[str] = []
    try:
        with read_only(path) as db:
            found = db.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})")
            problems += [text for (text,) in found if text != "ok"]
            schema = version_of(db)
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            refuse_newer(path, schema)
            if schema < 1:
                problems.append(f"its schema version is {schema}, this segwatch knows 1 to {SCHEMA}")
            else:
                problems += [f"{name}: no such table" for name in ("spools", "rounds", "cells") if name not in tables]
            rows = {
                name: int(db.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0])  # noqa: S608 - a constant
                for name in _COUNTED
                if name in tables
            }
            for name in _BODIES.keys() & tables:
                problems += _unreadable(db, name)
            page, free = (int(db.execute(f"PRAGMA {what}").fetchone()[0]) for what in ("page_size", "freelist_count"))
    except sqlite3.OperationalError as error:  # it may be sound
        raise StoreError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        return Checked(path=path, rows={}, problems=(*problems[:MOST_PROBLEMS], str(error)), **sizes)
    return Checked(
        path=path, schema=schema, free_bytes=page * free, rows=rows, problems=tuple(problems[:MOST_PROBLEMS]), **sizes
    )


def backup(state_dir: Path, target: Path) -> Checked:
    """Copy the store of one moment to a new file, whole and checked; StoreError where that cannot be."""
    source = state_dir / STORE
    _size(source)
    if target.exists():
        raise StoreError(f"{target} exists already; a backup goes to a new file")
    with _new_file(target) as partial:
        try:
            with read_only(source) as db, contextlib.closing(sqlite3.connect(partial)) as copy:
                refuse_newer(source, version_of(db))
                db.backup(copy, pages=-1)  # in one step: in several, each write of the coordinator would begin it anew
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        except sqlite3.Error as error:
            raise StoreError(f"{source} cannot be copied to {target}: {error}") from error
        made = check(partial)
        if not made.ok:
            raise StoreError(
                f"{source} is damaged: {made.problems[0]}. See: segwatch store check --state-dir {state_dir}"
            )
    return check(target)


def restore(target: Path, state_dir: Path, now: datetime) -> tuple[Checked, Path | None]:
    """Make a backup the store of a state directory that no coordinator runs on; what it becomes, and where the old one is.

    Whatever cuts it off, there is a store: a coordinator that finds none would begin an empty one without a word.
    """
    found = check(target)
    if not found.ok:
        raise StoreError(f"{target} is not a sound backup: {found.problems[0]}")
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = lock(state_dir)
    try:
        path = state_dir / STORE
        aside = path.with_name(f"{path.name}.before-{now:%Y%m%dT%H%M%SZ}") if path.exists() else None
        owner = owner_of(state_dir) if os.geteuid() == 0 else None  # root restores for the coordinator's user
        if owner:
            os.fchown(held, *owner)
        with _new_file(path, owner=owner, replacing=lambda: _set_aside(path, aside)) as partial:
            shutil.copyfile(target, partial)
        return check(path), aside
    except OSError as error:
        raise StoreError(f"{error.filename or state_dir}: {error.strerror}") from error
    finally:
        os.close(held)


def owner_of(directory: Path) -> tuple[int, int]:
    """User and group that a directory is of."""
    found = directory.stat()
    return found.st_uid, found.st_gid


def _set_aside(path: Path, aside: Path | None) -> None:
    """Give the store that is there a second name, and only that one to the files beside it."""
    if aside is None:
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a damaged one goes with the files beside it
    aside.hardlink_to(path)
    for end in ("-wal", "-shm"):
        if (part := path.with_name(path.name + end)).exists():
            part.rename(aside.with_name(aside.name + end))


def _size(path: Path) -> int:
    try:
        with path.open("rb"):
            return path.stat().st_size
    except FileNotFoundError as error:
        raise StoreError(f"there is no store {path}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


@contextlib.contextmanager
def _new_file(
    path: Path, *, owner: tuple[int, int] | None = None, replacing: Callable[[], None] | None = None
) -> Iterator[Path]:
    """A file of mode 0600 under another name, which gets its own when it is whole on disk.

    Never in place of another, but where `replacing` has seen to that one just before.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if owner:
            os.fchown(fd, *owner)
        os.close(fd)
        yield partial
        _sync(partial)
        if replacing is None:
            path.hardlink_to(partial)
        else:
            replacing()
            partial.replace(path)
        _sync(path.parent)
    except FileExistsError as error:
        raise StoreError(f"{error.filename2 or error.filename} exists already") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _unreadable(db: sqlite3.Connection, table: str) -> Iterator[str]:
    column, kind = _BODIES[table]
    of_kind = "kind" if table == "reports" else "''"
    rows = db.execute(f"SELECT rowid, {column}, {of_kind} FROM {table}")  # noqa: S608 - constants
    for number, body, name in rows:
        try:
            decode(body, kind.get(name, SourceReport) if isinstance(kind, dict) else kind)
        except (msgspec.DecodeError, zstandard.ZstdError, ValueError, KeyError) as error:
            yield f"{table}, row {number}: {error}"
