"""One run: the faults as planned, the firewall's holes beside them, eyes on the matrix all the while, and the reckoning."""

from __future__ import annotations

import contextlib
import heapq
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.sealed import LabError
from tests.chaos import faults, ledger, plan
from tests.chaos.greens import Verdicts, meets, said
from tests.chaos.plan import HOLES, Planned
from tests.chaos.world import SWEPT, World, world
from tests.lab.small import AGENTS, expected
from tests.lab.truth import CellId, unfold

POLL_S = 1.0
AT_THE_END = (1, 2)  # holes that stand open at the end: there must be red, too
SETTLE_S = 180.0  # of which an agent that flooded is cut off for a minute
SET_S = 2.0  # after a clock was set an answer may mix times from before with those from after


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it: faults, seconds from one to the next on average, the longest that one lasts, holes, sweeps."""

    faults: int
    gap_s: float
    most_s: float
    holes_s: tuple[float, float]
    sweep: bool
    without: tuple[str, ...] = ()  # kinds of faults
    life: str = ""  # of agents' certificates, so short that they renew them in the midst of it


SHORT = Scale(faults=10, gap_s=2.5, most_s=6.0, holes_s=(8.0, 14.0), sweep=False, without=(plan.FLOOD,))
LONG = Scale(faults=110, gap_s=9.0, most_s=60.0, holes_s=(10.0, 40.0), sweep=True, life="9m")


@dataclass(slots=True)
class Entry:
    """A fault as it went."""

    planned: Planned
    at: float  # epoch seconds
    healed: float = 0.0
    over: float = 0.0  # when all was well again; 0: never seen
    done: faults.Done | None = None


@dataclass(slots=True)
class Run:
    """What a run was."""

    seed: int
    scale: Scale
    entries: list[Entry] = field(default_factory=list)
    verdicts: Verdicts = field(default_factory=Verdicts)
    balance: ledger.Balance = field(default_factory=ledger.Balance)
    status: Mapping[str, Any] | None = None  # the newest
    refused: int = 0  # polls that showed a refused topology file
    problems: list[str] = field(default_factory=list)
    exits: list[tuple[float, str, int]] = field(default_factory=list)
    cells: int = 0  # held against the truth at the end
    seconds: float = 0.0
    unanswered: int = 0
    renewals: int = 0


def chaos(seed: int, scale: Scale) -> Run:
    """The faults of a seed, and what came of them; `problems` says what must not be."""
    rng = random.Random(seed)
    planned = plan.faults(rng, scale.faults, gap_s=scale.gap_s, most_s=scale.most_s, without=scale.without)
    until_s = max(fault.at_s + fault.for_s for fault in planned)
    openings = plan.openings(rng, until_s, lasts_s=scale.holes_s)
    run = Run(seed, scale)
    print(f"seed {seed}: {scale.faults} faults over {until_s:.0f} s, {len(openings)} holes in the firewall", flush=True)
    with world(sweep=scale.sweep, life=scale.life) as built:
        began = time.monotonic()
        run.verdicts.holes = built.holes
        built.digest = built.system.api("status")["topology"]["digest"]
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(built, run, over), name="watcher")
        watcher.start()
        try:
            _play(built, run, planned, openings)
            _reckon(built, run)
        finally:
            over.set()
            watcher.join()
            built.keep_all()
            run.exits = built.exits
            run.seconds = time.monotonic() - began
        _close(built, run)
    return run


def _play(built: World, run: Run, planned: list[Planned], openings: list[plan.Opening]) -> None:
    """Everything at its time."""
    events: list[tuple[float, int, Callable[[], None]]] = []
    for opening in openings:
        events.append((opening.at_s, len(events), lambda o=opening: built.hole(o.hole, opened=True)))  # type: ignore[misc]
        events.append((opening.until_s, len(events), lambda o=opening: built.hole(o.hole, opened=False)))  # type: ignore[misc]
    for fault in planned:
        events.append((fault.at_s, len(events), lambda f=fault: inflict(f)))  # type: ignore[misc]
    heapq.heapify(events)
    number = len(events)

    def inflict(fault: Planned) -> None:
        nonlocal number
        entry = Entry(fault, time.time())
        entry.done = faults.inflict(built, fault.kind, fault.target)
        run.entries.append(entry)
        print(f"{time.monotonic() - began:7.1f} s  {fault.kind}: {fault.target}, for {fault.for_s:.1f} s", flush=True)
        number += 1
        heapq.heappush(events, (time.monotonic() - began + fault.for_s, number, lambda: heal(entry)))

    def heal(entry: Entry) -> None:
        assert entry.done is not None
        entry.done.heal()
        entry.healed = time.time()

    began = time.monotonic()
    while events:
        at, _, do = heapq.heappop(events)
        time.sleep(max(0.0, at - (time.monotonic() - began)))
        do()


def _watch(built: World, run: Run, over: threading.Event) -> None:
    """Look at the matrix all the time, as a person with the page open does."""
    with contextlib.suppress(LabError):
        while not over.wait(POLL_S):
            asked = time.time()
            ahead_s, set_at = built.ahead_s, built.set_at
            body = built.system.api("matrix?cells=1")
            answered = time.time()
            status = built.system.api("status")
            if body is None or status is None:
                run.unanswered += 1
                continue
            if set_at == built.set_at and asked - set_at > SET_S:
                run.verdicts.look(body["cells"], asked, answered, ahead_s)
            for cell in run.verdicts.to_explain:
                port = (
                    "icmp"
                    if cell["ports"] is None
                    else f"{cell['protocol']}/{cell['ports'].partition('-')[0].partition(',')[0]}"
                )
                built.keep(f"explain?from={cell['agent']}&to={cell['address']}&port={port}")
            run.verdicts.to_explain = []
            run.status = status
            run.refused += status["topology_refused"] is not None
            for entry in run.entries:
                if entry.healed and not entry.over and entry.done and entry.done.over(status, entry.healed):
                    entry.over = time.time()


def _reckon(built: World, run: Run) -> None:
    """All is healed: is everybody well, does a quiet cycle show the truth, is every batch where it belongs?"""
    for index in AT_THE_END:
        built.hole(index, opened=True)
    try:
        built.system.wait_for(lambda: all(entry.over for entry in run.entries), "the end of every fault", SETTLE_S)
    except LabError:
        run.problems += [
            f"{e.planned.kind}, {e.planned.target}: not over {SETTLE_S:.0f} s after the last"
            for e in run.entries
            if not e.over
        ]
    _, body = built.system.verify("--cells", *(["--sweep"] if run.scale.sweep else []))
    run.problems += _untrue(run, unfold(body["cells"]))
    highest = {agent: _highest(built, agent) for agent in AGENTS}
    try:
        built.system.wait_for(
            lambda: all(_lowest_waiting(built, agent) > highest[agent] for agent in AGENTS), "empty spools", SETTLE_S
        )
    except LabError:
        run.problems.append(f"batches wait in the spools {SETTLE_S:.0f} s after the last fault")


def _untrue(run: Run, cells: dict[CellId, dict[str, Any]]) -> list[str]:
    """The matrix after the quiet cycle against the truth, over every cell that must be there."""
    wrong = []
    swept = (range(1, SWEPT[0] + 1), range(1, SWEPT[1] + 1)) if run.scale.sweep else ((), ())
    for cell in expected(*swept):
        entry = cells.pop(cell, None)
        run.cells += 1
        if entry is None:
            wrong.append(f"at the end: {cell} is missing")
            continue
        one = {**entry, "ports": None if cell[3] == "icmp" else str(cell[4])}
        is_open = any(meets(HOLES[index], one) for index in AT_THE_END)
        if is_open and entry["result"] == "pass":
            wrong.append(f"at the end: green, and open: {said(one)}")
        elif is_open and entry["required"] and entry["result"] != "fail":
            wrong.append(f"at the end: open, and not shown: {said(one)}")
        elif not is_open and (entry["result"] == "fail" or (entry["required"] and entry["result"] != "pass")):
            wrong.append(f"at the end: closed, and not shown: {said(one)}")
    return wrong + [f"at the end: {cell} is in no plan" for cell in cells]


def _close(built: World, run: Run) -> None:
    """Stop everything, then balance the books."""
    for name, code in built.end().items():
        if code:
            run.problems.append(f"{name} ended with {code} when it was asked to")
    run.balance = ledger.balance([built.recorded(agent) for agent in AGENTS], built.taken())
    run.problems += run.balance.wrong
    false = [f"false green: {text}" for text in run.verdicts.false_greens]
    false += [f"false red: {text}" for text in run.verdicts.false_reds]
    run.problems = false + run.problems  # the gravest first
    renewals = {agent: built.renewals(agent) for agent in AGENTS}
    run.renewals = sum(renewals.values())
    if run.scale.life:
        # One that is given a bundle by hand again and again has no need to.
        due = [
            agent
            for agent in AGENTS
            if all(e.planned.target != agent for e in run.entries if "by hand" in e.planned.kind)
        ]
        run.problems += [f"{agent} has never renewed its certificate" for agent in due if not renewals[agent]]
    for name in ("coordinator", *AGENTS):
        log = built.system.log(name)
        if "Traceback" in log:
            run.problems.append(f"{name} printed a traceback: {log[log.index('Traceback') :][:3000]}")


def _highest(built: World, agent: str) -> int:
    return max((sequence for _, sequence in built.recorded(agent).batches), default=0)


def _lowest_waiting(built: World, agent: str) -> int:
    side = built.recorded(agent)
    return min((sequence for _, sequence in side.waiting | side.untold), default=1 << 62)
