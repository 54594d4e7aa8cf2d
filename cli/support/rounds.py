"""What the store of a state directory holds: the rounds that verdicts stand on, and whether it is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cli.support.archive import Archive, plain
from coordinator.store import HeldRound, StoreError
from coordinator.store.care import check
from coordinator.store.file import STORE
from coordinator.store.reader import Reader, as_json, reading

MOST_ROUNDS, NEWEST = 100, 5
_WHAT = "rounds that these stand on, and the newest, without packets"


def gather(
    archive: Archive, state_dir: Path, wanted: Iterable[str], *, with_book: bool, tell: Callable[[str], None]
) -> None:
    """Add the rounds `wanted`, those of live findings and the newest; `with_book`: findings and events as well."""
    path = state_dir / STORE
    if any(part.is_symlink() for part in (path, *(path.with_name(STORE + end) for end in ("-wal", "-shm")))):
        archive.lack(f"{STORE}: it is a link out of {state_dir}, which is not followed")
        return
    tell("reading rounds from the store")
    try:
        with reading(path) as reader:
            _add(archive, reader, wanted, with_book=with_book)
    except (StoreError, OSError) as error:
        archive.lack(f"rounds/: {error}")
    tell("checking the store")
    try:
        found = check(path)
    except (StoreError, OSError) as error:
        archive.lack(f"store-check.json: {error}")
        return
    what = "what `segwatch store check` finds"
    archive.body("store-check.json", what, {**asdict(found), "path": str(found.path), "ok": found.ok})


def _add(archive: Archive, reader: Reader, wanted: Iterable[str], *, with_book: bool) -> None:
    found = [finding for finding in reader.findings() if finding.live]
    if with_book:
        archive.body("store/findings.json", "the book as the store has it: no coordinator answered", as_json(found))
        archive.body("store/events.json", "", as_json(reader.events()))
    shown = (name for finding in found for name in reversed(finding.shown))
    names = (reader.main_of(name) for name in (*wanted, *shown, *reader.newest(NEWEST)))
    mains = list(dict.fromkeys(name for name in names if name))
    for name in mains[:MOST_ROUNDS]:
        archive.body(f"rounds/{plain(name)}.json", _WHAT, [_body(held) for held in reader.group_of(name)])
    if len(mains) > MOST_ROUNDS:
        archive.lack(f"rounds/: {len(mains) - MOST_ROUNDS} more")


def _body(held: HeldRound) -> Any:
    """A round; its packets are what `segwatch findings export` writes."""
    reports = [{"received": at, **as_json(replace(report, kept=()))} for report, at in held.reports]
    return {"spec": as_json(held.spec), "parts": as_json(held.parts), "reports": reports}
