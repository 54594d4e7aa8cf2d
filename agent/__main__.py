"""`python -m agent --state-dir DIR [--log json|console] [--user NAME] [--verbose]`: the idle daemon, without the command line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agent.config import ConfigError, load
from agent.identity import ALLOW, lacks_netlink, lacks_raw
from agent.journal import open_log
from agent.lock import held
from agent.privileges import settle
from agent.service import serve
from agent.spool_schema import SpoolError
from wire.keyfiles import keep_private
from wire.process.notify import Notifier
from wire.process.privileges import close_inherited

USAGE = 2


def main(arguments: list[str]) -> int:
    """Run the daemon; the exit code."""
    left = [argument for argument in arguments if argument != "--verbose"]
    options = dict(zip(left[::2], left[1::2], strict=False))
    form = options.get("--log") or ("console" if sys.stderr.isatty() else "json")
    twice = len(options) < len(left) // 2
    known = not twice and options.keys() <= {"--state-dir", "--log", "--user"} and form in {"json", "console"}
    if len(left) % 2 or not known or "--state-dir" not in options:
        sys.stderr.write("usage: python -m agent --state-dir DIR [--log json|console] [--user NAME] [--verbose]\n")
        return USAGE
    state_dir = Path(options["--state-dir"])
    notifier = Notifier.taken()
    try:
        config = load(state_dir)
        log = open_log(config.name, as_json=form == "json", verbose=left != arguments)
        with held(state_dir):
            if why := lacks_netlink():
                raise ConfigError(f"{why}. {ALLOW}")
            lacks = lacks_raw()  # asked while this process can still open such a socket itself
            for note in settle(options.get("--user") or config.user, state_dir):
                log.warning("privileges", note=note)
            keep_private(state_dir)
            asyncio.run(serve(config, state_dir, log, notifier, raw_lacks=lacks))
    except (ConfigError, SpoolError) as error:
        sys.stderr.write(f"segwatch agent: {error}\n")
        return USAGE
    return 0


if __name__ == "__main__":
    close_inherited()
    sys.exit(main(sys.argv[1:]))
