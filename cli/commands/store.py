"""`segwatch store`: check, back up and restore what the coordinator keeps; the first two even while it runs."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import options
from cli.errors import Problem
from cli.files import check_writable
from cli.show.render import clean, paint, plural, show, table

if TYPE_CHECKING:
    from coordinator.store.care import Checked

SOUND, DAMAGED = 0, 1
_T = TypeVar("_T")
_STATE_DIR = click.option(
    "--state-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    envvar="SEGWATCH_STATE_DIR",
    metavar="DIR",
    help="The coordinator's state directory, on this host.",
)


@click.group("store", epilog="Example: segwatch store backup /backup/segwatch.sqlite --state-dir /var/lib/segwatch")
def command() -> None:
    """Check, back up and restore what the coordinator keeps."""


@command.command("check", epilog="Example: segwatch store check --state-dir /var/lib/segwatch")
@_STATE_DIR
@options.output("table", "json")
@options.common
def check(state_dir: Path, output: str) -> int:
    """Read every page and every value of the store, even while the coordinator runs.

    Exit code 0: it is sound. 1: it is damaged. 2: there is none, or it cannot be read.
    """
    from coordinator.store import care  # noqa: PLC0415 - of no use to other verbs
    from coordinator.store.file import STORE  # noqa: PLC0415

    found = _said(lambda: care.check(state_dir / STORE))
    if output == "json":
        click.echo(json.dumps(_body(found), indent=2))
        return SOUND if found.ok else DAMAGED
    style = paint()
    if found.ok:
        show([f"{style('SOUND', 'good')}  {found.path}: {_size(found)}", *_rows(found)])
        return SOUND
    lines = [f"{style('DAMAGED', 'bad')}  {found.path}: {plural(len(found.problems), 'problem')}"]
    lines += [f"{style('✗', 'bad')} {clean(problem)}" for problem in found.problems]
    show(
        [
            *lines,
            f"  stop the coordinator, then: segwatch store restore BACKUP --state-dir {shlex.quote(str(state_dir))}",
        ]
    )
    return DAMAGED


@command.command(
    "backup", epilog="Example: segwatch store backup /backup/segwatch.sqlite --state-dir /var/lib/segwatch"
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_STATE_DIR
@options.output("table", "json")
@options.common
def backup(file: Path, state_dir: Path, output: str) -> None:
    """Copy the store as it is now to a new FILE, even while the coordinator runs."""
    from coordinator.store import care  # noqa: PLC0415

    check_writable(file)
    made = _said(lambda: care.backup(state_dir, file))
    how = f"segwatch store restore {shlex.quote(str(file))} --state-dir {shlex.quote(str(state_dir))}"
    if output == "json":
        click.echo(json.dumps({**_body(made), "restore": how}, indent=2))
        return
    show([f"{file}: {_size(made)}, checked", *_rows(made)])
    if not options.look().quiet:
        click.echo(f"To restore it: stop the coordinator, then: {how}", err=True)


@command.command(
    "restore", epilog="Example: segwatch store restore /backup/segwatch.sqlite --state-dir /var/lib/segwatch"
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_STATE_DIR
@options.output("table", "json")
@options.common
def restore(file: Path, state_dir: Path, output: str) -> None:
    """Make a backup the store again; the coordinator must not be running. The store that was there is kept beside it.

    What agents reported after the backup is not in it: it is counted and shown as lost, agent by agent.
    """
    from coordinator.store import care  # noqa: PLC0415

    made, aside = _said(lambda: care.restore(file, state_dir, dt.datetime.now(dt.UTC)))
    if output == "json":
        click.echo(json.dumps({**_body(made), "before": str(aside) if aside else None}, indent=2))
        return
    show([f"{made.path}: {_size(made)}, from {file}", *_rows(made)])
    if aside is not None and not options.look().quiet:
        click.echo(f"The store that was there is {aside}.", err=True)


def _said(work: Callable[[], _T]) -> _T:
    from coordinator.store import StoreError  # noqa: PLC0415

    try:
        return work()
    except StoreError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{error.filename}: {error.strerror}") from error


def _body(found: Checked) -> dict[str, Any]:
    return {
        "store": str(found.path),
        "ok": found.ok,
        "schema": found.schema,
        "bytes": found.bytes,
        "free_bytes": found.free_bytes,
        "wal_bytes": found.wal_bytes,
        "rows": found.rows,
        "problems": list(found.problems),
    }


def _size(found: Checked) -> str:
    free = f", {found.free_bytes / 2**20:.1f} MiB of it free" if found.free_bytes else ""
    return f"{found.bytes / 2**20:.1f} MiB{free}, schema {found.schema}"


def _rows(found: Checked) -> list[str]:
    return table([[name, f"{count:>9,}"] for name, count in found.rows.items()], indent=2)
