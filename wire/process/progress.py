"""Whether the parts of a daemon come by as they should, and the task that tells the service manager so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wire.process.notify import Notifier

LOOK_S = 10.0
PART_S = 600.0  # a part that works for so long hangs: publishing to many agents through a slow broker takes minutes


class Progress:
    """When each part came by last, by the event loop's clock. A part is watched from its first time on."""

    def __init__(self) -> None:
        self._passed: dict[str, float] = {}

    def passed(self, part: str) -> None:
        """It has come by."""
        self._passed[part] = asyncio.get_running_loop().time()

    def sleeping(self, part: str) -> Callable[[float], Awaitable[None]]:
        """A sleep for a part's loop, which comes by whenever it begins and ends."""

        async def sleep(seconds: float) -> None:
            self.passed(part)
            await asyncio.sleep(seconds)
            self.passed(part)

        return sleep

    def stalled(self) -> str:
        """The part that hangs, in words; "" when none does."""
        now = asyncio.get_running_loop().time()
        late = {part: now - at for part, at in self._passed.items() if now - at > PART_S}
        if not late:
            return ""
        part = max(late, key=late.__getitem__)
        return f"{part} has made no progress for {late[part]:.0f} s"


async def keep_telling(
    notifier: Notifier, status: Callable[[], str], stalled: Callable[[], str], told: Callable[[str], None]
) -> None:
    """Tell the manager how it is, often enough for its watchdog; not that it is alive while something hangs.

    The event loop runs this: one that hangs says nothing either. `told` gets what hangs, once.
    """
    known = ""
    while notifier:
        hangs = stalled()
        if hangs:
            notifier.stuck(f"hangs: {hangs}")
        else:
            notifier.alive(status())
        if hangs and not known:
            told(hangs)
        known = hangs
        await asyncio.sleep(min(LOOK_S, notifier.watchdog_s / 2) if notifier.watchdog_s else LOOK_S)


def ago(seconds: float) -> str:
    """How long ago something was, for people; it changes once a minute, an hour, a day."""
    for size_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if (count := int(seconds // size_s)) > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "less than a minute ago"
