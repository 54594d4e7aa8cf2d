"""How things look on a terminal: colour that is never alone, tables within 100 columns, counts and times in words."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import click

from cli import options
from reachability import texts

WIDTH = 100
# result -> glyph and style; `pass` has two, by its grade
GLYPHS = {
    "fail": ("✗", "bad"),
    "waived": ("~", "warn"),
    "baselined": ("~", "warn"),
    "below": ("~", "warn"),
    "inconclusive": ("?", "warn"),
    "stale": ("?", "warn"),
    "not-run": ("?", "warn"),
    "pass": ("✓", "good"),
}
NO_PACKET, NO_SESSION = "■", "□"
_STYLES = {"bad": "1;31", "good": "32", "warn": "33", "dim": "2", "bold": "1", "link": "36"}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
clean = texts.clean  # of what comes from a coordinator the client has seen to it already


class Paint:
    """Puts styles around text, or leaves it as it is."""

    def __init__(self, color: bool, width: int = WIDTH) -> None:
        self.color = color
        self.width = width

    def __call__(self, text: str, style: str) -> str:
        """The text in a style: bad, good, warn, dim, bold, link, or "" for none."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and style and text else text


def paint() -> Paint:
    """For stdout: colour on a terminal unless --no-color, NO_COLOR or a dumb one; FORCE_COLOR asks for it elsewhere."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    wanted = terminal or bool(os.environ.get("FORCE_COLOR"))
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if terminal else WIDTH
    return Paint(options.look().color and wanted, max(width, 40))


def show(lines: Iterable[str]) -> None:
    """Print lines to stdout."""
    click.echo("\n".join(lines), color=True)


def visible(text: str) -> int:
    """How many columns the text takes, styles left out."""
    return len(_ANSI.sub("", text))


def clip(text: str, width: int) -> str:
    """The plain text, cut with an ellipsis where it is longer."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def table(rows: Sequence[Sequence[str]], gap: int = 2, indent: int = 0) -> list[str]:
    """Rows (styled or not) as aligned columns; the last column is left as long as it is."""
    if not rows:
        return []
    columns = max(len(row) for row in rows)
    widths = [max((visible(row[c]) for row in rows if c < len(row) - 1), default=0) for c in range(columns)]
    lines = []
    for row in rows:
        cells = [cell + " " * (widths[c] - visible(cell)) for c, cell in enumerate(row[:-1])]
        lines.append((" " * indent + (" " * gap).join([*cells, row[-1]])).rstrip())
    return lines


def labelled(label: str, text: str, width: int = WIDTH, indent: int = 11) -> list[str]:
    """`label      text`, wrapped under the text."""
    wrapped = textwrap.wrap(text, max(20, width - indent), break_long_words=False, break_on_hyphens=False) or [""]
    return [label.ljust(indent) + wrapped[0], *(" " * indent + line for line in wrapped[1:])]


def plural(count: int, one: str, many: str = "") -> str:
    """`1 path`, `1,284 cells`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def glyph_of(result: str) -> tuple[str, str]:
    """Glyph and style of a result; of one that a newer coordinator has, those of what is not known."""
    return GLYPHS.get(result, ("?", "warn"))


def percent(ratio: float) -> str:
    """A share, rounded down: 100% is all of it, nothing less."""
    if ratio >= 1.0:
        return "100%"
    return f"{math.floor(ratio * 1000) / 10:g}%"


def parse_time(text: str | None) -> datetime | None:
    """An API's time."""
    return datetime.fromisoformat(text) if text else None


def clock(text: str | None, now: datetime | None = None) -> str:
    """`12:04:07`, in UTC; with the day where it is not today's."""
    at = parse_time(text)
    if at is None:
        return "never"
    today = abs((now or datetime.now(UTC)) - at) < timedelta(hours=20)  # another's clock may be ahead of ours
    return at.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def short_ports(ports: str | None, protocol: str, width: int = 24) -> str:
    """`tcp/5000`, `icmp`; long lists end in how many more there are."""
    if ports is None:
        return protocol
    if len(ports) <= width:
        return f"{protocol}/{ports}"
    parts = ports.split(",")
    kept = [parts.pop(0)]  # one at least, however long
    while parts and len(",".join([*kept, parts[0]])) <= width - 9:
        kept.append(parts.pop(0))
    return f"{protocol}/{','.join(kept)},… (+{len(parts)})"
