"""How a verify run is followed to its end: asked for, waited for, cut off after its time, and what is said meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from cli.client import POLL_S, Client, GoneError, UnreachableError
from cli.errors import Problem
from coordinator.api.responses.runs import Ended, FinishedRun, Run

SOCKET_WAIT_S = 30.0
GRACE_S = 30.0  # from the end of --timeout on, for the coordinator to end the run
BAR, PACE_S = 10, 3.0


class Progress:
    """One line on stderr that is written over on a terminal; elsewhere a line where something changed."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""
        self.terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show what is being done."""
        if self._quiet or text == self._last:
            return
        self._last = text
        if self.terminal:
            click.echo(f"\r\x1b[K{text[:99]}", nl=False, err=True)
        else:
            click.echo(text, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self.terminal and self._last and not self._quiet:
            click.echo("\r\x1b[K", nl=False, err=True)


def follow(
    client: Client,
    ask: Callable[[], str],
    progress: Progress,
    *,
    timeout_s: float | None = None,
    with_cells: bool = False,
) -> FinishedRun:
    """Ask for a run and wait for its end; a coordinator that was restarted meanwhile is asked again.

    After `timeout_s` the run is cut off: what it had not tried is not run.
    """
    limit = Limit(timeout_s)
    run = ask()
    pace = Pace(alive=progress.terminal)
    lost_at: float | None = None
    while True:
        try:
            known = client.get(f"runs/{run}", Run)
            over = known.state == "finished"
            if limit.due() and not over:
                progress.say("verify: its time is over; what it has not tried is not run")
                client.post(f"runs/{run}/end", Ended)
            if over and not known.error:
                return client.get(f"runs/{run}", FinishedRun, cells=1 if with_cells else None)
        except UnreachableError:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > SOCKET_WAIT_S or limit.over():
                raise
            progress.say("the coordinator is gone; waiting for it")
        except GoneError:
            progress.say("the coordinator was restarted; this run begins anew")
            run = ask()
        else:
            lost_at = None
            if known.error:
                raise Problem(known.error)
            if not limit.cut:
                progress.say(pace.doing(known))
            elif limit.over():
                told = f"the run did not end within {GRACE_S:.0f} s after its --timeout"
                raise Problem(told, "The coordinator's log says what it is doing.")
        try:
            time.sleep(POLL_S)
        except KeyboardInterrupt:
            client.post(f"runs/{run}/end", Ended)
            progress.say("verify: interrupted; what it has not tried is not run")


class Limit:
    """How long a run may take."""

    def __init__(self, timeout_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        """`timeout_s` None: as long as it likes."""
        self._now = now
        self._until = None if timeout_s is None else now() + timeout_s
        self.cut = False

    def due(self) -> bool:
        """Whether the run has to be cut off now: true once."""
        if self.cut or self._until is None or self._now() < self._until:
            return False
        self.cut = True
        return True

    def over(self) -> bool:
        """Whether even the time to end it in is over."""
        return self._until is not None and self._now() >= self._until + GRACE_S


class Pace:
    """What a run that has not finished is doing, how fast, and how long it will still take."""

    def __init__(self, *, alive: bool, now: Callable[[], float] = time.monotonic) -> None:
        """`alive`: the line is written over, so that it may change all the time."""
        self._alive, self._now = alive, now
        self._first: tuple[float, int] | None = None

    def doing(self, run: Run) -> str:
        """One line."""
        if run.waiting_for:
            return f"verify: waiting for {', '.join(run.waiting_for)}"
        total, done = run.progress.cells, run.progress.done
        if not total:
            return f"verify: {run.state}"
        text = f"verify {bar(done / total)} {done / total:4.0%}  {done:,} of {total:,} cells"
        began, before = self._first = self._first or (self._now(), done)
        took = self._now() - began
        if not self._alive or took < PACE_S or done in {before, total}:
            return text
        rate = (done - before) / took
        return f"{text}, {rate:,.0f} a second, {(total - done) / rate:,.0f} s left"


def bar(share: float) -> str:
    """So much of ten places."""
    full = int(min(1.0, max(0.0, share)) * BAR)
    return "█" * full + "░" * (BAR - full)
