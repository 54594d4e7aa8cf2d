"""What the dashboard opens over itself: an explanation, and the cells of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Static

from cli.dashboard.reader import Reader
from cli.errors import Problem
from cli.show.cells import cell_row
from cli.show.explanation import explanation
from cli.show.render import Paint
from coordinator.api.responses.estate import Cell, Matrix
from coordinator.api.responses.proof import Explanation

_ORDER = ("fail", "waived", "inconclusive", "stale", "not-run", "pass")
_CLOSE: list[BindingType] = [
    Binding("escape", "dismiss", "Back"),
    Binding("q", "dismiss", "Back", show=False),
]


class ExplainScreen(ModalScreen[None]):
    """An explanation as `segwatch explain` prints it."""

    CSS = "ExplainScreen > VerticalScroll { margin: 1 2; padding: 1 2; border: round $accent; background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = [*_CLOSE, Binding("enter", "dismiss", "Back", show=False)]

    def __init__(self, client: Reader, query: Mapping[str, str]) -> None:
        super().__init__()
        self._client, self._asked = client, query

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll():
            yield Static("…", id="explanation", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Ask."""
        self._ask()

    @work(thread=True)
    def _ask(self) -> None:
        no_color = self.app.no_color
        try:
            body = self._client.get("explain", Explanation, **self._asked)
            text = "\n".join(explanation(body, Paint(not no_color, max(60, min(100, self.app.size.width - 12)))))
        except Problem as problem:
            text = "\n".join(problem.lines)
        self.app.call_from_thread(self._show, text)

    def _show(self, text: str) -> None:
        self.query_one("#explanation", Static).update(Text.from_ansi(text))


class CellsScreen(ModalScreen[None]):
    """Every cell of a pair, as `segwatch matrix --cells` lists them; Enter explains one."""

    CSS = "CellsScreen > DataTable { margin: 1 2; padding: 0 1; border: round $accent; background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = _CLOSE

    def __init__(self, client: Reader, pair: tuple[str, str]) -> None:
        super().__init__()
        self._client, self._pair = client, pair
        self._cells: list[Cell] = []

    def compose(self) -> ComposeResult:
        """One table."""
        table: DataTable[Text] = DataTable(id="cells", cursor_type="row")
        table.border_title = f"{self._pair[0]} → {self._pair[1]}"
        yield table
        yield Footer()

    def on_mount(self) -> None:
        """Ask."""
        self._ask()

    @work(thread=True)
    def _ask(self) -> None:
        try:
            cells = self._client.get("matrix", Matrix, cells=1).cells or ()
        except Problem as problem:
            self.app.call_from_thread(self.notify, problem.lines[0], severity="error")
            return
        self.app.call_from_thread(self._fill, cells)

    def _fill(self, cells: Sequence[Cell]) -> None:
        order = {result: place for place, result in enumerate(_ORDER)}
        mine = [cell for cell in cells if (cell.source, cell.destination) == self._pair]
        self._cells = sorted(mine, key=lambda cell: order.get(cell.result, 0))
        table: DataTable[Text] = self.query_one("#cells", DataTable)
        table.add_columns("from", "to", "ports", "declared", "reachability", "why")
        paint = Paint(not self.app.no_color)
        for cell in self._cells:
            table.add_row(*(Text.from_ansi(text) for text in cell_row(cell, paint)))
        table.focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Explain the cell under the cursor."""
        event.stop()
        cell = self._cells[event.cursor_row]
        first = cell.ports.partition(",")[0].partition("-")[0] if cell.ports else ""
        port = f"{cell.protocol}/{first}" if first else cell.protocol
        query = {"from": cell.agent, "to": cell.address, "port": port}
        self.app.push_screen(ExplainScreen(self._client, query))
