"""The tables of the store, as what each version of the schema adds to the one before. What was released never changes."""

from __future__ import annotations

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE spools (spool TEXT PRIMARY KEY, agent TEXT NOT NULL, acknowledged INTEGER NOT NULL) STRICT;
    CREATE TABLE batches (spool TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (spool, sequence)) STRICT, WITHOUT ROWID;
    CREATE TABLE rounds (
      round TEXT PRIMARY KEY, main TEXT NOT NULL, started REAL NOT NULL, spec BLOB NOT NULL, armed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX rounds_main ON rounds (main);
    CREATE INDEX rounds_started ON rounds (started);
    CREATE TABLE reports (
      id INTEGER PRIMARY KEY, round TEXT NOT NULL, agent TEXT NOT NULL, kind TEXT NOT NULL, received REAL NOT NULL,
      body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reports_round ON reports (round);
    CREATE TABLE cells (
      agent TEXT, source_address TEXT, destination TEXT, address TEXT, protocol TEXT, ports TEXT NOT NULL, judged BLOB NOT NULL
    ) STRICT;
    CREATE INDEX cells_key ON cells (agent, source_address, destination, address, protocol);
    CREATE TABLE findings (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE TABLE lookups (agent TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (agent, name)) STRICT;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
    """,
    # What a report kept of the packets, apart from it: it is much, and soon forgotten unless something stands on it.
    """
    CREATE TABLE packets (report INTEGER PRIMARY KEY, round TEXT NOT NULL, received REAL NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE INDEX packets_round ON packets (round);
    """,
    # Spools are each agent's own. What is held above a hole, as ranges: a gap may stand for any number of batches.
    # What is missing, for good. And what retention looks for.
    """
    ALTER TABLE spools RENAME TO spools_2;
    CREATE TABLE spools (
      agent TEXT NOT NULL, spool TEXT NOT NULL, acknowledged INTEGER NOT NULL, heard REAL NOT NULL, PRIMARY KEY (agent, spool)
    ) STRICT;
    INSERT INTO spools SELECT agent, spool, acknowledged, CAST(strftime('%s', 'now') AS REAL) FROM spools_2;
    CREATE TABLE held (
      agent TEXT NOT NULL, spool TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (agent, spool, first)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO held SELECT agent, spool, sequence, sequence FROM batches JOIN spools_2 USING (spool);
    DROP TABLE batches;
    DROP TABLE spools_2;
    CREATE TABLE gaps (
      id INTEGER PRIMARY KEY, agent TEXT NOT NULL, spool TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
      batches INTEGER NOT NULL, reports INTEGER NOT NULL, since REAL NOT NULL, until REAL NOT NULL, why TEXT NOT NULL,
      noticed REAL NOT NULL
    ) STRICT;
    CREATE INDEX gaps_agent ON gaps (agent);
    CREATE INDEX reports_received ON reports (received);
    CREATE INDEX packets_received ON packets (received);
    """,
    # How old each row is by history's own clock (`coordinator.store.ageing`), which begins now. And which rounds have reports that
    # were not judged: `number` counts up with each that comes.
    """
    ALTER TABLE reports ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    ALTER TABLE packets ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    ALTER TABLE rounds ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    ALTER TABLE cells ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    ALTER TABLE findings ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    ALTER TABLE events ADD COLUMN kept REAL NOT NULL DEFAULT 0;
    UPDATE spools SET heard = 0;
    DROP INDEX reports_received;
    DROP INDEX packets_received;
    CREATE INDEX reports_kept ON reports (kept);
    CREATE INDEX packets_kept ON packets (kept);
    CREATE INDEX rounds_kept ON rounds (kept);
    CREATE INDEX cells_kept ON cells (kept);
    CREATE INDEX events_kept ON events (kept);
    CREATE TABLE unjudged (round TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
    """,
    # The bytes of a report of a round that was not known when it came (`coordinator.store.strays`), 0 of any other.
    """
    ALTER TABLE reports ADD COLUMN stray INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX reports_stray ON reports (agent, stray) WHERE stray > 0;
    """,
)
SCHEMA = len(MIGRATIONS)
INCREMENTAL = 2  # PRAGMA auto_vacuum


def version_of(db: sqlite3.Connection) -> int:
    """The version of the schema that a file has; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, to: int = SCHEMA) -> None:
    """Bring a file forward, one version per transaction: a kill between two leaves the one before."""
    for number in range(version_of(db), to):
        try:
            db.executescript(f"BEGIN IMMEDIATE;{MIGRATIONS[number]}PRAGMA user_version = {number + 1};COMMIT;")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
