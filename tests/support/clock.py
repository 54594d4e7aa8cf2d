"""A wall clock of its own for one process and what it starts: Debian's libfaketime, told the offset by a file."""

from __future__ import annotations

from pathlib import Path

LIBRARY = "libfaketimeMT.so.1"


class Clock:
    """What a process that is started with `env` takes for the time of day; its monotonic clock is the machine's."""

    def __init__(self, file: Path, ahead_s: int = 0) -> None:
        """`file` is written; `ahead_s` is by how much it is ahead of the machine's."""
        self._file = file
        library = next(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(Path(__file__).with_name("clocked")),
        }
        self.set(ahead_s)

    def set(self, ahead_s: int) -> None:
        """Set it, forward or back."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n", "ascii")
        new.replace(self._file)
