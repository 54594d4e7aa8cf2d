"""The terminal dashboard: the matrix on the left, findings on the right, agents below. It only reads."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Input, Static

from cli.dashboard.reader import Reader
from cli.dashboard.screens import CellsScreen, ExplainScreen
from cli.errors import Problem
from cli.show.grid import LEGEND, by_pair, counted, headline, live, pair_cell, standing
from cli.show.losses import why_lost
from cli.show.render import clean, clock, glyph_of, plural
from cli.show.roster import ends_soon, notes
from coordinator.api.responses.estate import Coverage, Finding, Matrix
from coordinator.api.responses.status import Status

EVERY_S = 2.0
STYLES = {"bad": "bold red", "good": "green", "warn": "yellow", "dim": "dim", "bold": "bold", "link": "cyan", "": ""}


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is on the screen, as it was at one moment."""

    status: Status
    matrix: Matrix
    coverage: Coverage
    findings: tuple[Finding, ...] = ()


class Dashboard(App[None]):
    """Shows a coordinator's picture, renewed every two seconds; without one, the last picture in grey and since when."""

    TITLE = "segwatch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #headline { height: auto; padding: 0 1; }
    #gone { height: auto; padding: 0 1; display: none; text-style: bold reverse; }
    #left { width: 57%; } #right { width: 43%; }
    #left, #right { border: round $foreground 40%; padding: 0 1; }
    #left:focus-within, #right:focus-within { border: round $accent; }
    DataTable { height: 1fr; background: transparent; }
    #legend { height: auto; } #agents { height: auto; max-height: 8; padding: 0 1; }
    #filter { display: none; height: 3; }
    .gone #gone { display: block; }
    .gone #headline, .gone #body, .gone #agents { opacity: 40%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "focus_next", "Matrix/findings"),
        Binding("c", "cells", "Cells of the pair"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "clear_filter", "Clear filter", show=False),
        Binding("r", "refresh_now", "Refresh"),
        Binding("q", "quit", "Leave"),
    ]

    def __init__(
        self, client: Reader, every_s: float = EVERY_S, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__()
        self._now = now
        self.client = client
        self.picture: Picture | None = None
        self.gone_since: datetime | None = None
        self._every_s = every_s
        self._filter = ""
        self._pairs: dict[tuple[int, int], tuple[str, str]] = {}
        self._listed: list[Finding] = []

    def compose(self) -> ComposeResult:
        """The panes."""
        yield Static("connecting …", id="headline", markup=False)
        yield Static("", id="gone", markup=False)
        with Horizontal(id="body"):
            with Vertical(id="left") as left:
                left.border_title = "matrix: from row to column"
                left.border_subtitle = "arrows move · Enter explains"
                yield DataTable(id="matrix", cursor_type="cell", zebra_stripes=False)
                yield Static(_legend(), id="legend")
            with Vertical(id="right") as right:
                right.border_title = "findings, newest first"
                right.border_subtitle = "Enter explains"
                yield DataTable(id="findings", cursor_type="row", show_header=False)
        yield Static("", id="agents", markup=False)
        yield Input(placeholder="part of a name: environment, service, finding, agent", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Start looking."""
        self.query_one("#matrix", DataTable).focus()
        self.action_refresh_now()
        if self._every_s:
            self.set_interval(self._every_s, self.action_refresh_now)

    def action_refresh_now(self) -> None:
        """Ask the coordinator again."""
        self._look()

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        try:
            picture = Picture(
                self.client.get("status", Status),
                self.client.get("matrix", Matrix),
                self.client.get("coverage", Coverage),
                self.client.get("findings", tuple[Finding, ...]),
            )
        except Problem as problem:
            self.call_from_thread(self.lose, problem.lines[0])
        else:
            self.call_from_thread(self.draw, picture)

    def lose(self, why: str) -> None:
        """The coordinator is gone: say since when, and keep the last picture in grey."""
        self.gone_since = self.gone_since or self._now()
        last = f"; the picture is of {clock(self.picture.status.now, self._now())}" if self.picture else ""
        since = self.gone_since.strftime("%H:%M:%S")
        self.query_one("#gone", Static).update(f"! coordinator gone since {since} UTC: {why}{last}; reconnecting")
        self.screen_stack[0].add_class("gone")

    def draw(self, picture: Picture) -> None:
        """Show a new picture, with the cursors where they were."""
        self.picture, self.gone_since = picture, None
        self.screen_stack[0].remove_class("gone")
        self._draw_headline(picture)
        self._draw_matrix(picture)
        self._draw_findings(picture)
        self._draw_agents(picture)

    def _table(self, name: str) -> DataTable[Text]:
        table: DataTable[Text] = self.screen_stack[0].query_one(name, DataTable)
        return table

    def _draw_headline(self, picture: Picture) -> None:
        failing = len(live(picture.findings))
        whole = picture.coverage.coverage >= 1.0
        word, style = ("FAIL", "bad") if failing else ("PASS", "good") if whole else ("UNPROVEN", "warn")
        text = Text.assemble((f"{word} ", STYLES[style]), f"{plural(failing, 'finding')} · ")
        if stopped := picture.status.stopped:
            since = f"since {clock(picture.status.stopped_at, self._now())}: {clean(stopped)} "
            text = Text.assemble(("STOPPED ", STYLES["bad"]), since, "· ", text)
        text.append(counted(picture.coverage, len(picture.matrix.environments)))
        text.append(f" · {clock(picture.status.now, self._now())} UTC", "dim")
        self.screen_stack[0].query_one("#headline", Static).update(text)

    def _matches(self, *texts: str) -> bool:
        return not self._filter or any(self._filter in text.lower() for text in texts)

    def _draw_matrix(self, picture: Picture) -> None:
        table, names = self._table("#matrix"), picture.matrix.environments
        entries = by_pair(picture.coverage)
        results = {(pair.source, pair.destination): pair.results for pair in picture.matrix.pairs}
        shown = [name for name in names if self._matches(name)] or names
        rows = [[Text(source, "bold")] for source in shown]
        self._pairs = {}
        for row, source in enumerate(shown):
            for column, name in enumerate(names, start=1):
                pair = (source, name)
                if source == name:
                    rows[row].append(Text("·", "dim"))
                    continue
                parts = pair_cell(results[pair], entries.get(pair), live(picture.findings, pair))
                rows[row].append(Text("\n").join([Text(text, STYLES[style]) for text, style in parts]))
                self._pairs[(row, column)] = pair
        refill(table, ("from \\ to", *names), rows)

    def _draw_findings(self, picture: Picture) -> None:
        table = self._table("#findings")
        newest = sorted(picture.findings, key=lambda one: str(one.first_seen), reverse=True)
        self._listed = [f for f in newest if self._matches(f.id, headline(f), f.severity, f.status)]
        rows = []
        for finding in self._listed:
            glyph, style = glyph_of(finding.result)
            about = f" {finding.severity}, {standing(finding)} {clock(finding.first_seen, self._now())}\n"
            text = Text.assemble((f"{glyph} {finding.id}", STYLES[style]), (about, "dim"))
            title = textwrap.wrap(clean(headline(finding)), max(20, self.size.width * 43 // 100 - 10))
            rows.append([text.append("\n".join(f"  {line}" for line in title))])
        refill(table, ("finding",), rows or [[Text("no finding" + (" matches" if self._filter else ""), "dim")]])

    def _draw_agents(self, picture: Picture) -> None:
        agents = [a for a in picture.status.agents if self._matches(a.name, a.environment, a.state)]
        width = max((len(agent.name) for agent in agents), default=0)
        lines = []
        for agent in agents:
            up = agent.state == "connected"
            age = f"last cycle {agent.age_s:.0f} s ago" if agent.age_s is not None else "no cycle yet"
            text = Text.assemble(("● " if up else "○ ", STYLES["good" if up else "bad"]), agent.name.ljust(width))
            text.append(f"  {agent.state}, {age}, {agent.rate_pps} packets/s, {agent.spooled} spooled")
            lost = agent.lost.reports + agent.lost.untold
            why = f" ({why_lost(agent.lost)})" if agent.lost.why else ""
            text.append(f", {lost} lost{why}" if lost else "", "yellow")
            lines.append(text.append("".join(f"  {note}" for note in notes(agent)), "yellow"))
        for holder, certificate in picture.status.certificates.items():
            if words := ends_soon(certificate):
                lines.append(Text(f"! {holder}: its {words}", STYLES["warn"]))
        refused = picture.status.refused
        if refused.count:
            said = f"! refused {plural(refused.count, 'message')} from agents, last: {clean(refused.newest[-1])}"
            lines.append(Text(said, STYLES["warn"]))
        self.screen_stack[0].query_one("#agents", Static).update(Text("\n").join(lines))

    def on_data_table_cell_selected(self, _: DataTable.CellSelected) -> None:
        """Enter in the matrix."""
        self.action_open()

    def on_data_table_row_selected(self, _: DataTable.RowSelected) -> None:
        """Enter in the findings."""
        self.action_open()

    def action_open(self) -> None:
        """Explain what is under the cursor: a finding, a pair's worst finding, or else the pair's cells."""
        table = self._table("#findings")
        if table.has_focus:
            if self._listed:
                self.push_screen(ExplainScreen(self.client, {"finding": self._listed[table.cursor_row].id}))
            return
        pair = self._pair()
        if pair is None or self.picture is None:
            return
        failing = live(self.picture.findings, pair)
        if failing:
            self.push_screen(ExplainScreen(self.client, {"finding": failing[0].id}))
        else:
            self.push_screen(CellsScreen(self.client, pair))

    def action_cells(self) -> None:
        """Show every cell of the pair under the matrix's cursor."""
        pair = self._pair()
        if pair is not None:
            self.push_screen(CellsScreen(self.client, pair))

    def _pair(self) -> tuple[str, str] | None:
        cursor = self._table("#matrix").cursor_coordinate
        return self._pairs.get((cursor.row, cursor.column))

    def action_filter(self) -> None:
        """Ask for part of a name."""
        box = self.query_one("#filter", Input)
        box.display = True
        box.focus()

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self.query_one("#filter", Input).value = ""
        self._end_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._filter = event.value.lower()
        if self.picture is not None:
            self.draw(self.picture)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Keep the filter and go back."""
        self._end_filter()

    def _end_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.display = bool(box.value)
        self.query_one("#matrix", DataTable).focus()


def refill(table: DataTable[Text], labels: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Put other rows into a table, as wide as they need, with the cursor and the scrolling where they were."""
    cursor, scroll = table.cursor_coordinate, table.scroll_offset
    table.clear(columns=True)
    for column, label in enumerate(labels):
        lines = [line for row in rows for line in row[column].plain.split("\n")]
        # A width of its own: an automatic one is measured later, and wrongly after two changes at once.
        table.add_column(label, width=max(len(text) for text in (label, *lines)))
    for row in rows:
        table.add_row(*row, height=max(cell.plain.count("\n") + 1 for cell in row))
    if rows:
        first = 1 if table.cursor_type == "cell" else 0
        column = max(first, min(cursor.column, len(labels) - 1))
        table.move_cursor(row=min(cursor.row, len(rows) - 1), column=column)
        table.scroll_to(scroll.x, scroll.y, animate=False)


def _legend() -> Text:
    return Text(" ").join([Text.assemble((glyph, STYLES[style]), f" {text}") for glyph, style, text in LEGEND])
