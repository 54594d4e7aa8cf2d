"""The archive: each entry goes through the filter, is bounded, and has its line in `README.txt`."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.show.render import plural
from cli.support.redact import Filter

MOST_BYTES = 64 * 1024 * 1024  # of all files, unpacked
MOST_FILE = 16 * 1024 * 1024
HALF = 8 * 1024  # of a text that was cut before the filter this much may be half a secret
README = "README.txt"
_NOT_PLAIN, _MOST_NAME = re.compile(r"[^A-Za-z0-9._-]+"), 80
_README_ROOM = 256 * 1024
_MOST_LACKS = 500
_UNITS = ("bytes", "KiB", "MiB")
_STEP = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive. `cut` says what is not in it, "" for nothing."""

    name: str
    data: bytes
    what: str
    cut: str = ""


class Archive:
    """What is gathered so far, and what could not be."""

    def __init__(self, screen: Filter, most: int = MOST_BYTES, most_file: int = MOST_FILE) -> None:
        self.screen = screen
        self.entries: list[Entry] = []
        self.lacks: list[str] = []
        self._room = most - min(_README_ROOM, most // 4)
        self._most_file = most_file

    def text(self, name: str, what: str, data: bytes, *, before: int = 0, most: int = MOST_FILE) -> None:
        """Add a text, or its last `most` bytes where it is longer; `before` bytes of the file stand before it.

        It is cut behind the filter, and well behind where it began, so that no half of a secret is left.
        """
        whole = before + len(data)
        screened = self.screen.raw(data).encode("utf-8", "replace")
        if before:
            screened = screened[HALF:].partition(b"\n")[2] or screened[HALF:]
        self._add(name, what, screened, most, whole if before else len(screened), tail=True)

    def body(self, name: str, what: str, value: Any) -> None:
        """Add what JSON holds; of one that is too long the beginning is kept, as `NAME.cut`: it is no whole JSON."""
        self._add(name, what, data := self.screen.body(value).encode(), MOST_FILE, len(data), tail=False)

    def lack(self, text: str) -> None:
        """Say what is not in it, and why."""
        if len(self.lacks) < _MOST_LACKS:
            self.lacks.append(self.screen.text(text))

    def packed(self, top: str, made: datetime) -> bytes:
        """The archive as a file: all in one folder `top`, nothing of who made it."""
        out = io.BytesIO()
        readme = Entry(README, self._readme(made).encode("utf-8", "replace"), "")
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as tar:
            for entry in (readme, *self.entries):
                member = tarfile.TarInfo(f"{top}/{entry.name}")
                member.size, member.mode, member.mtime = len(entry.data), 0o600, int(made.timestamp())
                tar.addfile(member, io.BytesIO(entry.data))
        return out.getvalue()

    def groups(self) -> list[tuple[str, int, int, str]]:
        """(file or folder/, how many files, bytes, what it is), in the order in which they came."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            folder, slash, _ = entry.name.partition("/")
            found.setdefault(folder + slash, []).append(entry)
        return [(name, len(held), sum(len(e.data) for e in held), held[0].what) for name, held in found.items()]

    @property
    def cuts(self) -> list[str]:
        """What of the entries is not in it."""
        return [f"{entry.name}: {entry.cut}" for entry in self.entries if entry.cut]

    def _add(self, name: str, what: str, data: bytes, most: int, whole: int, *, tail: bool) -> None:
        most = min(most, self._most_file, self._room)
        if most <= 0:
            self.lack(f"{name} ({size(whole)}): the archive is full")
            return
        if len(data) > most:
            data = data[-most:] if tail else data[:most]
            name = name if tail else f"{name}.cut"
        cut = (
            "" if len(data) == whole else f"it has the {'last' if tail else 'first'} {size(len(data))} of {size(whole)}"
        )
        self._room -= len(data)
        self.entries.append(Entry(name, data, what, cut))

    def _readme(self, made: datetime) -> str:
        lines = [
            f"A support bundle of segwatch, made at {made:%Y-%m-%d %H:%M:%S} UTC by `segwatch support-bundle`.",
            "",
            "It names hosts, addresses, services and people of the estate. No key, bundle or token is in it: files are",
            "chosen by name, and what is a secret on the host where it was made, or looks like one, is replaced by",
            f"[removed] ({plural(self.screen.removed, 'time')}). Packets in explain/ are without their bytes.",
            "",
            *(
                f"{name:<20} {what}" + (f" ({plural(count, 'file')})" if name.endswith("/") else "")
                for name, count, _, what in self.groups()
            ),
            *_listed("Cut:", self.cuts),
            *_listed("Not in it:", self.lacks),
        ]
        return "\n".join(lines)[:_README_ROOM] + "\n"


def size(count: int) -> str:
    """`812 bytes`, `1.2 KiB`, `64.0 MiB`."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} {_UNITS[0]}"


def plain(name: str) -> str:
    """A name of others as a file's: it leads nowhere else."""
    return _NOT_PLAIN.sub("-", name).lstrip(".")[:_MOST_NAME] or "-"


def _listed(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(f"- {line}" for line in lines)] if lines else []
