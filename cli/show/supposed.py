"""What another topology would make of what was observed, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cli.show.render import Paint, clean, labelled, parse_time, plural, short_ports, table
from coordinator.api.responses.runs import Changed, Unproven, WhatIf

MOST_LINES = 16
_ORDER = ("fail", "inconclusive", "stale", None, "waived", "not-run", "pass")  # what a person must look at comes first
_GLYPHS = {"fail": ("✗", "bad"), "pass": ("■", "good"), "waived": ("~", "warn"), None: ("-", "warn")}


def lines(what_if: WhatIf, style: Paint) -> list[str]:
    """What it was judged by, and a line for what comes out otherwise on a host."""
    file = clean(what_if.topology.file)
    changes = sorted(what_if.changes, key=lambda change: _ORDER.index(change.after) if change.after in _ORDER else 0)
    changed = [change for change in changes if change.before is not None or change.after != "not-run"]
    new = sum(change.cells for change in changes if change not in changed)
    cells = sum(change.cells for change in changed)
    times = [parse_time(time) for time in (what_if.oldest, what_if.newest)]
    seen = " to ".join(dict.fromkeys(f"{time:%Y-%m-%d %H:%M:%S}" for time in times if time))
    held = clean(what_if.in_force.file)
    text = f"judged by {file}, which is not in force: what was observed under {held} at {seen} UTC"
    found = labelled(" ", text, style.width, 2)
    if not cells:
        found.append("  no cell that was observed comes out otherwise")
    else:
        found.append(f"  {plural(cells, 'cell')} would come out otherwise:")
    found += table([_row(change, style) for change in changed[:MOST_LINES]])
    found += _rest(changed[MOST_LINES:])
    if new:
        text = f"{plural(new, 'cell')} would be new, and nobody has tried them: put it in force, then segwatch verify"
        found += labelled(style("?", "warn"), text, style.width, 2)
    return found


def unobserved(unproven: Sequence[Unproven], style: Paint) -> list[str]:
    """What must be proven and nobody observed, a line for each host, with the reason."""
    hosts: dict[tuple[str, str, str, str], int] = {}
    for one in unproven:
        if one.required and one.result == "not-run":
            host = (one.source, one.destination, one.address, one.means)
            hosts[host] = hosts.get(host, 0) + one.cells
    found: list[str] = []
    for (source, destination, address, why), cells in sorted(hosts.items(), key=lambda host: -host[1])[:MOST_LINES]:
        text = f"{source} → {destination} {address}: {plural(cells, 'cell')} not run: {why}"
        found += labelled(style("?", "warn"), text, style.width, 2)
    more = len(hosts) - MOST_LINES
    return found + (
        [f"? and {plural(more, 'more host')}: segwatch verify --what-if FILE -o json --cells"] if more > 0 else []
    )


def _rest(changes: Sequence[Changed]) -> list[str]:
    if not changes:
        return []
    cells = plural(sum(change.cells for change in changes), "cell")
    return [f"  and {cells} on {plural(len(changes), 'more line')}: segwatch verify --what-if FILE -o json"]


def _row(change: Changed, style: Paint) -> list[str]:
    glyph, tone = _GLYPHS.get(change.after, ("?", "warn"))
    where = f"{change.source} → {change.destination} {change.address} {short_ports(change.ports, change.protocol, 24)}"
    after = change.after or "not probed any more"
    by = f"path {change.path}" if change.path else ("no path declares it" if change.after == "fail" else "")
    return [f"{style(glyph, tone)} {where}", f"{change.before or 'new'} → {after}", style(by, "dim")]
