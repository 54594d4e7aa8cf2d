"""`python -m agent.selfcheck STATE_DIR [USER]`: gives privileges up as the daemon does, and starts its packet child.

What both hold then goes to stdout as JSON, a `Sandbox`. `segwatch agent --check` runs it: what it says was tried, not looked up.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from agent import child_user
from agent.childproc import COMMAND, READ_BYTES, begin
from agent.config import ConfigError
from agent.privileges import settle
from probes.child.protocol import Configure, FromChild, Ready, Unframer, frame
from wire.process.privileges import Held, close_inherited, is_dumpable


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """What daemon and child hold; `problem` says why that could not be tried, or seen."""

    problem: str = ""
    daemon: Held | None = None
    dumpable: bool = False
    child: Held | None = None
    notes: tuple[str, ...] = ()
    child_notes: tuple[str, ...] = ()
    raw_lacks: str = ""
    files: str = ""  # as in `Ready`


def sandbox(state_dir: Path, user: str) -> Sandbox:
    """Try it. This process has no way back."""
    try:
        notes = settle(user, state_dir)
        started = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=begin,  # noqa: PLW1509 - no thread runs here
        )
        with started as process:
            ready = _ready(process)
            with child_user.taken_on():
                process.kill()
    except (ConfigError, OSError, ValueError) as error:
        return Sandbox(problem=str(error))
    return Sandbox(
        daemon=Held.read(),
        dumpable=is_dumpable(),
        child=ready.holds,
        problem="" if ready.holds else "what the packet child holds cannot be seen: /proc is not mounted",
        notes=notes,
        child_notes=ready.notes,
        raw_lacks=ready.lacks,
        files=ready.files,
    )


def _ready(process: subprocess.Popen[bytes]) -> Ready:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(frame(Configure(agent="check")))
    unframer = Unframer(FromChild)  # type: ignore[arg-type]
    while data := process.stdout.read(READ_BYTES):
        for message in unframer.feed(data):
            if isinstance(message, Ready):
                return message
    raise ConfigError(f"the packet child ended with code {process.wait()}")


def main(arguments: list[str]) -> None:
    """Print it."""
    close_inherited()
    state_dir, user = (*arguments, "")[:2]
    sys.stdout.buffer.write(msgspec.json.encode(sandbox(Path(state_dir), user)))


if __name__ == "__main__":
    main(sys.argv[1:])
