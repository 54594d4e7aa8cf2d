"""What hangs on the coordinator alone, before a packet is sent: a sentence for the environments that lack the same."""

from __future__ import annotations

from collections.abc import Iterable

from cli.show.render import labelled, percent
from reachability.uncontrolled import Uncontrolled


def sentences(lacking: Iterable[Uncontrolled]) -> list[str]:
    """What no path shows, what it is worth, and what would show it."""
    groups: dict[str, list[Uncontrolled]] = {}
    for one in lacking:
        groups.setdefault(one.names, []).append(one)
    return [
        f"no path shows that {names} packets get out of {', '.join(f'{one.environment} ({percent(one.share)})' for one in group)}: "
        "where the coordinator does not answer them, as much of the coverage stays inconclusive. To have it, for each: "
        f"{group[0].settle}"
        for names, group in groups.items()
    ]


def lines_of(lacking: Iterable[Uncontrolled], width: int) -> list[str]:
    """The same for a terminal."""
    return [line for text in sentences(lacking) for line in labelled("·", text, width, 2)]
