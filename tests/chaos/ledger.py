"""A ledger that is not segwatch's: triggers in its two databases note every batch as it is recorded and as it is taken.

A trigger writes in the transaction that it watches, so that a kill -9 or a full disk leaves both or neither. SQLite
resolves the links of a path, and the databases are on file systems that only the lab has mounted: what touches them runs
in there, as `python ledger.py VERB FILE`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Batch = tuple[str, int]  # spool id, sequence

RECORDED = """
CREATE TABLE IF NOT EXISTS ledger (spool TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS ledger_recorded AFTER INSERT ON batch
BEGIN INSERT INTO ledger SELECT id, NEW.sequence FROM spool; END;
"""
TAKEN = """
CREATE TABLE IF NOT EXISTS ledger (number INTEGER PRIMARY KEY, what TEXT NOT NULL, name TEXT NOT NULL, first INTEGER, last INTEGER);
CREATE TRIGGER IF NOT EXISTS ledger_held AFTER INSERT ON held
BEGIN INSERT INTO ledger (what, name, first, last) VALUES ('held', NEW.spool, NEW.first, NEW.last); END;
CREATE TRIGGER IF NOT EXISTS ledger_lost AFTER INSERT ON gaps WHEN NEW.spool != ''
BEGIN INSERT INTO ledger (what, name, first, last) VALUES ('lost', NEW.spool, NEW.first, NEW.last); END;
CREATE TRIGGER IF NOT EXISTS ledger_report AFTER INSERT ON reports
BEGIN INSERT INTO ledger (what, name) VALUES ('report', NEW.agent); END;
"""

RECORDED_ROWS = {
    "ledger": "SELECT spool, sequence FROM ledger",
    "waiting": "SELECT sequence FROM batch",
    "gaps": "SELECT first, last FROM gap",
    "spool": "SELECT id, gap, losses FROM spool",
}
TAKEN_ROWS = {"ledger": "SELECT what, name, first, last FROM ledger ORDER BY number"}


@dataclass(slots=True)
class Recorded:
    """An agent's side: what its spool was given, what waits in it, batches and gaps, and how many it says that it lost.

    `dropped` were batches once; `never` were reports that a full disk did not take, which have sequences all the same.
    """

    agent: str
    spool: str
    batches: list[Batch]
    waiting: set[Batch] = field(default_factory=set)
    untold: set[Batch] = field(default_factory=set)
    dropped: int = 0
    never: int = 0


@dataclass(slots=True)
class Taken:
    """The coordinator's side: the batches that it took with the agents that their reports are of, and what it lost."""

    agents: dict[Batch, list[str]] = field(default_factory=dict)
    lost: set[Batch] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Balance:
    """What came of it. `wrong` must be empty."""

    recorded: int = 0
    taken: int = 0
    gap: int = 0
    waiting: int = 0
    wrong: list[str] = field(default_factory=list)


def recorded(agent: str, said: Mapping[str, Any]) -> Recorded:
    """An agent's side, as `main` printed it."""
    ((spool, dropped, never),) = said["spool"]
    return Recorded(
        agent,
        spool,
        [(name, sequence) for name, sequence in said["ledger"]],
        {(spool, sequence) for (sequence,) in said["waiting"]},
        {(spool, sequence) for first, last in said["gaps"] for sequence in range(first, last + 1)},
        dropped,
        never,
    )


def taken(said: Mapping[str, Any]) -> Taken:
    """The coordinator's side, as `main` printed it.

    The store notes a sequence by making a range of what it holds longer: what is new in the range is what came. A batch
    is noted before its reports are kept, and a gap before it is.
    """
    result = Taken()
    held: set[Batch] = set()
    last: set[Batch] = set()
    for what, name, begin, end in said["ledger"]:
        if what == "report":
            if len(last) == 1:
                (batch,) = last
                result.agents.setdefault(batch, []).append(name)
            else:
                result.wrong.append(f"a report of {name} came into the store with no batch that was new")
            continue
        entries = {(name, sequence) for sequence in range(begin, end + 1)}
        if what == "held":
            last = entries - held
            held |= entries
        else:
            result.lost |= entries
    result.wrong += [f"{batch} was taken, and is in a gap" for batch in result.agents.keys() & result.lost]
    result.wrong += [
        f"{batch} is acknowledged, and neither taken nor in a gap"
        for batch in held - result.agents.keys() - result.lost
    ]
    return result


def balance(sides: Iterable[Recorded], store: Taken) -> Balance:
    """Hold both sides against each other: each batch taken once with its one report, or in a counted gap."""
    result = Balance(taken=len(store.agents), wrong=list(store.wrong))
    known: dict[Batch, str] = {}
    for side in sides:
        gone = (side.untold - store.agents.keys()) | {batch for batch in store.lost if batch[0] == side.spool}
        missing = [batch for batch in side.batches if batch not in store.agents.keys() | side.waiting | gone]
        if missing:
            result.wrong.append(f"{side.agent}: in no store, spool or gap: {missing[:10]}, {len(missing)} in all")
        strange = gone - set(side.batches)
        if len(strange) > side.never or len(gone) > side.dropped + side.never:
            result.wrong.append(
                f"{side.agent}: counts {side.dropped} dropped and {side.never} never recorded, "
                f"and the gaps are {len(gone)}, {len(strange)} of them never recorded"
            )
        result.recorded += len(side.batches)
        result.waiting += len(side.waiting - store.agents.keys())
        result.gap += len(gone)
        known.update(dict.fromkeys(side.batches, side.agent))
    result.wrong += [f"{batch} was taken, and no agent recorded it" for batch in store.agents if batch not in known]
    # A batch of this version holds one report, of its own agent.
    result.wrong += [
        f"{batch} of {known[batch]} left the reports {agents}"
        for batch, agents in store.agents.items()
        if batch in known and agents != [known[batch]]
    ]
    return result


def main(arguments: Sequence[str]) -> None:
    """`spool FILE` and `store DIRECTORY` make the database and put the triggers in; `recorded FILE` and `taken FILE` read."""
    verb, path = arguments[0], Path(arguments[1])
    match verb:
        case "spool":
            from agent.spool import Spool

            Spool(path).close()
            _execute(path, RECORDED)
        case "store":
            from coordinator.store import Store

            Store(path).close()
            _execute(path / "store.sqlite", TAKEN)
        case "recorded":
            print(json.dumps(_rows(path, RECORDED_ROWS)))
        case "taken":
            print(json.dumps(_rows(path, TAKEN_ROWS)))


def _execute(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def _rows(path: Path, queries: Mapping[str, str]) -> dict[str, Any]:
    connection = sqlite3.connect(path, timeout=30)
    try:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
    finally:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
