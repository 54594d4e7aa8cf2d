"""`segwatch matrix`: which environment reaches which; with --cells, range by range."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.cells import cell_table
from cli.show.grid import counted, grid, legend, live, sentence
from cli.show.render import Paint, paint, plural
from cli.watching import put
from coordinator.api.responses.estate import Coverage, Finding, Matrix


@click.command("matrix", epilog="Example: segwatch matrix --state-dir /var/lib/segwatch --cells")
@options.output("table", "json")
@click.option("--cells", is_flag=True, help="Every cell: a line for each range of ports that came out alike.")
@options.watched
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str, cells: bool, watch: bool) -> None:
    """Show which environment reaches which, as last observed."""
    client, style = Client(endpoint), paint()
    asked = 1 if cells else None

    def lines() -> list[str]:
        matrix = client.get("matrix", Matrix, cells=asked)
        coverage, findings = client.get("coverage", Coverage), client.get("findings", tuple[Finding, ...])
        return overview(matrix, coverage, findings, style)

    put(output, watch=watch, body=lambda: client.get("matrix", object, cells=asked), lines=lines, style=style)


def overview(body: Matrix, coverage: Coverage, findings: Sequence[Finding], style: Paint) -> list[str]:
    """One sentence, the matrix, and what to do; the cells under it where the body has them."""
    failing = live(findings)
    proven = coverage.coverage >= 1.0
    word, tone = ("FAIL", "bad") if failing else ("PASS", "good") if proven else ("UNPROVEN", "warn")
    what = plural(len(failing), "finding") if failing else "all as declared" if proven else "nothing fails"
    lines = sentence(style, word, tone, f"{what} · {counted(coverage, len(body.environments))}")
    lines += ["", *grid(body, coverage, findings, style), "", legend(style)]
    if failing:
        lines.append(f"segwatch findings shows what fails; segwatch explain {failing[0].id} shows why.")
    if body.cells:
        lines += ["", *cell_table(body.cells, style)]
    return lines
