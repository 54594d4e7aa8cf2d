"""`segwatch support-bundle`: one archive for a bug report, with no key and no token in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options
from cli.errors import Problem
from cli.files import check_new, create_private
from cli.options import Endpoint
from cli.show.render import clean, labelled, paint, plural, show, table

if TYPE_CHECKING:
    from cli.support.archive import Archive
    from cli.support.redact import Filter

READ_IT = "Read it before you send it: it names hosts and addresses of your estate."


@click.command(
    "support-bundle",
    epilog="Example: segwatch support-bundle --state-dir /var/lib/segwatch --log coordinator.log",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A new file; segwatch-support-TIME.tar.gz in this directory unless told otherwise.",
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=options.Paths(path_type=Path),
    metavar="FILE",
    help="A log of a coordinator or an agent, whose last 2 MiB go in; may be repeated. Of a unit: journalctl -u UNIT > FILE.",
)
@click.option("--run", metavar="ID", help="The verify run that it is about; the newest unless told otherwise.")
@options.output("table", "json")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str, out: Path | None, logs: tuple[Path, ...], run: str | None) -> None:
    """One archive for a bug report: versions, topology, logs, rounds and evidence, and no key or token.

    Without a coordinator that answers it has what lies on this host, and says what is missing. Exit code 2: nothing could be
    gathered or written.
    """
    made = datetime.now(UTC)
    top = f"segwatch-support-{made:%Y%m%dT%H%M%SZ}"
    out = out or Path(f"{top}.tar.gz")
    check_new(out)
    archive = _gathered(endpoint, logs, run, made)
    data = archive.packed(top, made)
    create_private(out, data)
    if output == "json":
        click.echo(json.dumps(_body(archive, out, len(data)), indent=2))
        return
    show(_told(archive, out, len(data)))


def _gathered(endpoint: Endpoint, logs: Sequence[Path], run: str | None, made: datetime) -> Archive:
    from cli.support import disk, rounds  # noqa: PLC0415 - of no use to other verbs
    from cli.support.answers import Answers  # noqa: PLC0415
    from cli.support.archive import Archive  # noqa: PLC0415
    from cli.support.versions import versions  # noqa: PLC0415

    tell = _teller()
    archive = Archive(_screen(endpoint))
    answers = Answers(endpoint, archive, tell)
    archive.body("versions.json", "segwatch, Python, the system, and what segwatch depends on", versions(made))
    disk.logs(archive, logs)
    state_dir = endpoint.state_dir
    if state_dir is not None:
        disk.broker_log(archive, state_dir)
    answers.gather(run)
    if state_dir is not None:
        rounds.gather(archive, state_dir, answers.rounds, with_book=answers.status is None, tell=tell)
    else:
        archive.lack("topology.yaml, rounds, store and broker.log: they are on the coordinator's host (--state-dir)")
    if state_dir is not None and answers.status is not None:
        stands = answers.status.topology
        disk.topology(archive, stands.file, stands.digest, state_dir)
    if len(archive.entries) == 1:
        raise Problem("there is nothing to gather", *archive.lacks)
    return archive


def _screen(endpoint: Endpoint) -> Filter:
    """The filter, with all secrets that can be read here."""
    from cli.support import keys  # noqa: PLC0415
    from cli.support.redact import Filter  # noqa: PLC0415

    directories = [Path(), Path("pki"), *(keys.places_of(endpoint.state_dir) if endpoint.state_dir is not None else ())]
    return Filter(keys.held_in(directories, [endpoint.token] if endpoint.token else []))


def _teller() -> Callable[[str], None]:
    verbose = options.look().verbose and not options.look().quiet

    def tell(text: str) -> None:
        if verbose:
            click.echo(text, err=True)

    return tell


def _told(archive: Archive, out: Path, length: int) -> list[str]:
    from cli.support.archive import README, size  # noqa: PLC0415

    style = paint()
    count = len(archive.entries) + 1
    first = f"{out}: {plural(count, 'file')}, {size(length)}; no key and no token is in it"
    removed = archive.screen.removed
    if removed:
        first += f", {plural(removed, 'value was', 'values were')} replaced by [removed]"
    rows = [[README, "", "what each file is"]]
    for name, files, held, what in archive.groups():
        rows.append([f"{name} ({files})" if name.endswith("/") else name, size(held), what])
    lines = [*labelled("", f"{first}.", style.width, 0), "", *table(rows, indent=2)]
    for title, texts in (("Cut:", archive.cuts), ("Not in it:", archive.lacks)):
        if texts:
            lines += ["", title]
            for text in texts:
                lines += labelled("  -", clean(text), style.width, 4)
    return [*lines, "", READ_IT]


def _body(archive: Archive, out: Path, length: int) -> dict[str, object]:
    return {
        "archive": str(out),
        "bytes": length,
        "files": [
            {"name": entry.name, "bytes": len(entry.data), "cut": entry.cut or None} for entry in archive.entries
        ],
        "removed": archive.screen.removed,
        "missing": archive.lacks,
    }
