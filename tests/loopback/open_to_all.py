"""`python open_to_all.py COMMAND …`: runs it where every user can reach this interpreter and this checkout.

They may lie in a home directory that is closed to others, such as /root. In a mount namespace of its own such a directory is
covered by an open one that holds nothing but what the tests need. Root alone can do that.
"""

import os
import subprocess
import sys
from pathlib import Path

NEEDED = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), Path(__file__).parents[2].resolve()}


def closed(path: Path) -> Path | None:
    """The topmost directory on the way that others cannot pass."""
    return next((each for each in reversed((path, *path.parents)) if not each.stat().st_mode & 0o001), None)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def main(command: list[str]) -> None:
    covered = {path: top for path in NEEDED if (top := closed(path)) is not None}
    for top, kept in zip(sorted(set(covered.values())), map(Path, ("/mnt", "/srv", "/media")), strict=False):
        mount("--bind", top, kept)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", top)
        for path in [path for path, over in covered.items() if over == top]:
            path.mkdir(parents=True, exist_ok=True)
            mount("--bind", kept / path.relative_to(top), path)
    os.execvp(command[0], command)


if __name__ == "__main__":
    if "--inside" in sys.argv[:2]:
        main(sys.argv[2:])
    os.execvp(
        "unshare", ["unshare", "-m", "--propagation", "private", sys.executable, __file__, "--inside", *sys.argv[1:]]
    )
