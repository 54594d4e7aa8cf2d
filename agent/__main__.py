"""`python -m agent --state-dir DIR [--log json|console] [--verbose]`: the idle daemon, without the command line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agent.config import ConfigError, load
from agent.daemon import serve
from agent.journal import open_log
from agent.lock import held
from agent.spool import SpoolError

USAGE = 2


def main(arguments: list[str]) -> int:
    """Run the daemon; the exit code."""
    left = [argument for argument in arguments if argument != "--verbose"]
    match left:
        case ["--state-dir", directory]:
            as_json = not sys.stderr.isatty()
        case ["--state-dir", directory, "--log", "json" | "console" as form]:
            as_json = form == "json"
        case _:
            sys.stderr.write("usage: python -m agent --state-dir DIR [--log json|console] [--verbose]\n")
            return USAGE
    state_dir = Path(directory)
    try:
        config = load(state_dir)
        log = open_log(config.name, as_json=as_json, verbose=left != arguments)
        with held(state_dir):
            asyncio.run(serve(config, state_dir, log))
    except (ConfigError, SpoolError) as error:
        sys.stderr.write(f"segwatch agent: {error}\n")
        return USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
