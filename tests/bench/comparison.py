"""The comparison of ten million cells whose states alternate, beside two databases that do the same.

A database holds the cells as one row a port, which is what alternating states come to, and answers with one statement:
which paths and waivers lie between the ends of each key, which of them decides each stretch of ports, and how many
cells of each pair have each result. Loading is not timed on either side.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np

from reachability.compare import compare, key_of, result_of
from reachability.coverage import coverage
from reachability.matrix import Judged, Matrix
from reachability.plan import PlanTarget
from reachability.topology import Path, Selector, Topology, Waiver
from reachability.vocabulary import Declared, Protocol, Require
from tests.bench.alternating import NOW, observed, plan, topology
from tests.bench.report import Row, ratio, table

RUNS, TARGETS = 5, 153
Counts = dict[tuple[str, str, str], int]  # source, destination, result -> cells
Record = tuple[int | str, ...]

TABLES = {
    "keys": "id INTEGER, source TEXT, agent TEXT, source_address INTEGER, destination TEXT, address INTEGER, "
    "witness TEXT, require TEXT",
    "ends": "entry INTEGER, side TEXT, environment TEXT, agent TEXT, service TEXT, low INTEGER, high INTEGER",
    "entries": "id INTEGER, waiver INTEGER, expect TEXT, place INTEGER",
    "entry_ports": "entry INTEGER, low INTEGER, high INTEGER",
    "hosts": "environment TEXT, service TEXT, address INTEGER",
    "judgements": "judged INTEGER, require TEXT, declared TEXT, result TEXT",
}

DECIDED = """
WITH sources AS (
    SELECT k.id AS key, e.entry FROM keys k JOIN ends e ON e.side = 'source' AND CASE
        WHEN e.high > 0 THEN k.source_address BETWEEN e.low AND e.high
        WHEN e.environment <> k.source THEN FALSE
        WHEN e.agent <> '' THEN e.agent = k.agent
        WHEN e.service <> '' THEN EXISTS (SELECT 1 FROM hosts h
            WHERE h.environment = e.environment AND h.service = e.service AND h.address = k.source_address)
        ELSE TRUE END
), destinations AS (
    SELECT k.id AS key, e.entry FROM keys k JOIN ends e ON e.side = 'destination' AND CASE
        WHEN e.high > 0 THEN k.address BETWEEN e.low AND e.high
        WHEN e.environment <> k.destination THEN FALSE
        WHEN e.agent <> '' THEN e.agent = k.witness
        WHEN e.service <> '' THEN EXISTS (SELECT 1 FROM hosts h
            WHERE h.environment = e.environment AND h.service = e.service AND h.address = k.address)
        ELSE TRUE END
), spoken AS MATERIALIZED (
    SELECT s.key, e.waiver, e.place, p.low, p.high
    FROM sources s JOIN destinations d ON d.key = s.key AND d.entry = s.entry
    JOIN entries e ON e.id = s.entry JOIN entry_ports p ON p.entry = s.entry
), cuts AS (
    SELECT key, low AS edge FROM spoken UNION SELECT key, high + 1 FROM spoken
    UNION SELECT id, 1 FROM keys UNION SELECT id, 65536 FROM keys
), stretches AS (
    SELECT key, edge AS low, LEAD(edge) OVER (PARTITION BY key ORDER BY edge) - 1 AS high FROM cuts
), decided AS MATERIALIZED (
    SELECT s.key, s.low, s.high, MIN(CASE WHEN b.waiver = 0 THEN b.place END) AS place, MAX(b.waiver) AS waived
    FROM stretches s LEFT JOIN spoken b ON b.key = s.key AND b.low <= s.low AND b.high >= s.high
    WHERE s.high IS NOT NULL GROUP BY s.key, s.low, s.high
)
"""
COUNTED = """
SELECT k.source, k.destination,
    CASE WHEN j.result = 'fail' AND c.waived = 1 AND COALESCE(p.expect, 'denied') <> 'required' THEN 'waived'
        ELSE j.result END AS result, SUM(c.cells)
FROM (SELECT d.key, d.place, d.waived, c.judged, COUNT(*) AS cells FROM {join} GROUP BY 1, 2, 3, 4) c
JOIN keys k ON k.id = c.key LEFT JOIN entries p ON p.waiver = 0 AND p.place = c.place
JOIN judgements j ON j.judged = c.judged AND j.require = k.require AND j.declared = COALESCE(p.expect, 'denied')
GROUP BY 1, 2, 3
"""
# Each in the way that is fastest there: a range of the primary key for each stretch, or a merge of the sorted columns.
SQLITE = DECIDED + COUNTED.format(
    join="decided d CROSS JOIN cells c ON c.key = d.key AND c.port BETWEEN d.low AND d.high"
)
DUCKDB = DECIDED + COUNTED.format(join="cells c ASOF JOIN decided d ON c.key = d.key AND c.port >= d.low")


def compared() -> None:
    """153 addresses of 65,535 TCP ports against 500 declared paths and 20 waivers."""
    declared = topology()
    targets = plan(declared)[:TARGETS]
    matrix = observed(targets)
    ours = Row("segwatch, cells with their paths, and the totals of each pair", [], [])
    want: Counts = {}
    cells = 0
    for _ in range(RUNS):
        began = time.perf_counter()
        found = compare(declared, targets, matrix, NOW)
        totals = coverage(found)
        ours.seconds.append(time.perf_counter() - began)
        ours.wrong.append(0)
        cells = sum(entry.cells for entry in totals)
        want = {(e.source, e.destination, r.value): n for e in totals for r, n in e.results.items() if n}
        ours.note = f"{len(found):,} rows; one core"
        del found
    records, judged = _records(declared, targets, matrix)
    peers = [_measured(f"SQLite {sqlite3.sqlite_version}, totals alone", _sqlite(records, judged), want)]
    try:
        peers.append(_measured(*_duckdb(records, judged), want))
    except ModuleNotFoundError:
        print("DuckDB is left out: it is not installed, and the extra `bench` brings it")
    table(f"{cells:,} cells, states alternating, against {len(declared.paths)} declared paths", [ours, *peers])
    for peer in peers:
        ratio(ours, [peer])


def _measured(name: str, ask: Callable[[], Iterable[Sequence[Any]]], want: Counts) -> Row:
    row = Row(name, [], [], "in memory; wrong counts the totals that differ from ours")
    for _ in range(RUNS):
        began = time.perf_counter()
        answer = list(ask())
        row.seconds.append(time.perf_counter() - began)
        got = {(source, destination, result): int(count) for source, destination, result, count in answer}
        row.wrong.append(len(got.items() ^ want.items()))
    return row


def _sqlite(records: dict[str, list[Record]], judged: list[list[tuple[int, int]]]) -> Callable[[], Iterable[Any]]:
    db = sqlite3.connect(":memory:")
    for name, rows in records.items():
        db.execute(f"CREATE TABLE {name} ({TABLES[name]})")
        db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    db.execute("CREATE TABLE cells (key INTEGER, port INTEGER, judged INTEGER, PRIMARY KEY (key, port)) WITHOUT ROWID")
    db.executemany(
        "INSERT INTO cells VALUES (?, ?, ?)",
        ((key, port, one) for key, found in enumerate(judged) for port, one in found),
    )
    db.execute("ANALYZE")
    return lambda: db.execute(SQLITE)


def _duckdb(
    records: dict[str, list[Record]], judged: list[list[tuple[int, int]]]
) -> tuple[str, Callable[[], Iterable[Any]]]:
    import duckdb

    db = duckdb.connect(":memory:")
    for name, rows in records.items():
        db.execute(f"CREATE TABLE {name} ({TABLES[name]})")
        db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    columns = np.array([(key, *cell) for key, found in enumerate(judged) for cell in found], np.int32).T
    loaded = {
        name: np.ascontiguousarray(column) for name, column in zip(("key", "port", "judged"), columns, strict=True)
    }
    db.register("loaded", loaded)
    db.execute("CREATE TABLE cells AS SELECT * FROM loaded ORDER BY key, port")
    db.unregister("loaded")
    threads = db.execute("SELECT current_setting('threads')").fetchone()
    return (
        f"DuckDB {duckdb.__version__}, totals alone, {threads[0] if threads else '?'} threads",
        lambda: db.execute(DUCKDB).fetchall(),
    )


def _records(
    declared: Topology, targets: Sequence[PlanTarget], matrix: Matrix
) -> tuple[dict[str, list[Record]], list[list[tuple[int, int]]]]:
    """The tables' rows, and of each key the (port, number of what was concluded) of every cell."""
    numbers: dict[Judged, int] = {}
    judged: list[list[tuple[int, int]]] = []
    for target in targets:
        rows = [(ports, numbers.setdefault(one, len(numbers))) for ports, one in matrix.rows(key_of(target))]
        judged.append(sorted((port, number) for ports, number in rows for port in ports))
    entries: list[Path | Waiver] = [*declared.paths, *(w for w in declared.waivers if w.expires > NOW)]
    return {
        "keys": [_key(number, declared, target) for number, target in enumerate(targets)],
        "ends": [
            (number, *end)
            for number, entry in enumerate(entries)
            for end in (_end("source", entry.source), _end("destination", entry.destination))
        ],
        "entries": [_entry(number, entry) for number, entry in enumerate(entries)],
        "entry_ports": [
            (number, *span)
            for number, entry in enumerate(entries)
            for span in (entry.ports.of(Protocol.TCP).ranges if entry.ports else ())
        ],
        "hosts": [
            (environment.name, service.name, int(ip_address(host)))
            for environment in declared.environments.values()
            for service in environment.services.values()
            for host in service.hosts
        ],
        "judgements": list(_judgements(numbers)),
    }, judged


def _key(number: int, declared: Topology, target: PlanTarget) -> Record:
    return (
        number,
        target.source_environment,
        target.agent,
        int(ip_address(target.source_address)),
        target.destination,
        int(ip_address(target.address)),
        target.witness,
        declared.environments[target.destination].require.value,
    )


def _end(side: str, end: Selector) -> Record:
    low, high = (int(end.network[0]), int(end.network[-1])) if end.network is not None else (0, 0)
    return side, end.environment, end.agent, end.service, low, high


def _entry(number: int, entry: Path | Waiver) -> Record:
    """What requires comes before what allows; else the place in the file counts."""
    if isinstance(entry, Waiver):
        return number, 1, "", number
    return number, 0, entry.expect.value, number + (0 if entry.expect is Declared.REQUIRED else 1_000_000)


def _judgements(numbers: dict[Judged, int]) -> Iterator[Record]:
    for one, number in numbers.items():
        for require in Require:
            for declared in Declared:
                result = result_of(declared, require, one.evidence, one.verdict)
                yield number, require.value, declared.value, result.value
