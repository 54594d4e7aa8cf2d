"""The tables of the spool, as what each version of the schema adds to the one before. What was released never changes."""

from __future__ import annotations

import sqlite3

_MIGRATIONS = (
    """
    CREATE TABLE IF NOT EXISTS spool (id TEXT NOT NULL, gap INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS batch (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, since_boot_s REAL NOT NULL, wall_s REAL NOT NULL,
        bytes INTEGER NOT NULL, sources BLOB NOT NULL, witnesses BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS taken (channel TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
    """,
    """
    ALTER TABLE batch ADD COLUMN reports INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE spool ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE gap (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, reports INTEGER NOT NULL, begun BLOB NOT NULL, ended BLOB NOT NULL,
        why TEXT NOT NULL);
    DROP TABLE taken;
    """,
)


class SpoolError(Exception):
    """The spool cannot be used; the text says why."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file forward, one version per transaction; SpoolError for one of a newer segwatch."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        raise SpoolError(
            f"the spool is of a newer segwatch: its schema version is {version}, this one knows {len(_MIGRATIONS)}. Install"
            " that one again, or give the agent a new state directory: what the spool holds is lost then"
        )
    for number in range(version, len(_MIGRATIONS)):
        db.executescript(f"BEGIN IMMEDIATE;{_MIGRATIONS[number]}PRAGMA user_version = {number + 1};COMMIT;")
