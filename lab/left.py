"""The lab's directories, and what is left of labs whose process was killed: the next one to start clears it away.

Whoever has a directory holds a lock on it, which the kernel lets go of with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "segwatch-estate-"  # of those that are locked; before that they have another name
NEW = "segwatch-new-"


def make() -> tuple[Path, int]:
    """A new directory and the descriptor that holds its lock. It has its name only once it is locked."""
    made = Path(tempfile.mkdtemp(prefix=NEW))
    held = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    directory = made.with_name(PREFIX + made.name.removeprefix(NEW))
    made.rename(directory)
    return directory, held


def remove_dead() -> list[Path]:
    """Remove the directories of this user that nobody holds; which ones."""
    removed = []
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, held, or gone meanwhile
            held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(held).st_uid != os.geteuid():
                    continue
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
                removed.append(directory)
            finally:
                os.close(held)
    return removed
