"""What both sides of a try have: a packet child whose answers are awaited, a voice, and what they end with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.childproc import COMMAND, PacketChild
from agent.journal import open_log
from cli.errors import Problem
from cli.trial.meeting import Pasted
from probes.child.protocol import Bounds, ChildArmed, Configure, FromChild, Log, Ready, SourceDone, ToChild, WitnessDone
from reachability.arrival import WitnessReport
from reachability.evidence import Conclusion
from wire.messages import Arm, Close, Go
from wire.trial import TrialCell

RATE_PPS = 1000
ASKED_HERE = Bounds(allow=("0.0.0.0/0", "::/0"))  # whoever sits at this terminal says where to

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one side ends with. `complete`: both reports are in it, else what this side alone can tell."""

    cells: tuple[TrialCell, ...] = ()
    complete: bool = False
    witness: WitnessReport | None = None  # at the destination
    listened_s: float = 0.0
    lacks: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Voice:
    """How a side speaks to whoever started it, and hears them."""

    say: Callable[[str], None]  # progress
    hand: Callable[[str, str], None]  # what to do with it, and a line to copy
    pasted: Pasted


class ChildFailedError(Exception):
    """The packet child cannot go on; the text says why."""


class TrialChild:
    """A packet child that is there for one try. `run` is its task."""

    def __init__(self, name: str, *, control: tuple[str, int] = ("", 0), command: Sequence[str] = COMMAND) -> None:
        """`control`: what answers this host, where no gateway does, so that a capture can show that it works."""
        host, port = control
        self._child = PacketChild(
            lambda: Configure(agent=name, rate_pps=RATE_PPS, broker_host=host, broker_port=port, bounds=ASKED_HERE),
            heard=self._heard,
            died=self._died,
            log=open_log(name, as_json=False),
            command=command,
        )
        self._waiting: dict[tuple[type, str], asyncio.Future[Any]] = {}
        self.lacks = ""  # why it has no raw sockets
        self.problems: list[str] = []
        self.late: list[WitnessReport] = []  # corrections: copies that came after a round was closed

    async def run(self) -> None:
        """Keep the child until cancelled."""
        self._child.set_busy(True)
        await self._child.run()

    async def arm(self, arm: Arm) -> tuple[str, ...]:
        """Listen; what is wrong with the capture, empty for nothing."""
        armed: ChildArmed = await self._ask(arm, ChildArmed, arm.round)
        return armed.problems

    async def go(self, go: Go) -> SourceDone:
        """Send, and wait for what comes back."""
        done: SourceDone = await self._ask(go, SourceDone, go.round)
        return done

    async def close(self, round_id: str) -> WitnessReport:
        """Listen no more; what arrived."""
        done: WitnessDone = await self._ask(Close(round=round_id), WitnessDone, round_id)
        return done.report

    async def _ask(self, order: ToChild, kind: type, round_id: str) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[kind, round_id] = answer
        self._child.tell(order)
        return await answer

    def _heard(self, message: FromChild) -> None:
        match message:
            case Ready():
                self.lacks = message.lacks
            case Log():
                self.problems.append(message.text.strip().rpartition("\n")[2])  # of a traceback, what it was
            case ChildArmed():
                self._answer(ChildArmed, message.round, message)
            case SourceDone():
                self._answer(SourceDone, message.report.round, message)
            case WitnessDone():
                if message.report.late:
                    self.late.append(message.report)
                else:
                    self._answer(WitnessDone, message.report.round, message)

    def _answer(self, kind: type, round_id: str, message: object) -> None:
        waiting = self._waiting.pop((kind, round_id), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _died(self, why: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChildFailedError(why))
        self._waiting.clear()


def cells_of(conclusion: Conclusion) -> tuple[TrialCell, ...]:
    """What was concluded, as both sides show it."""
    return tuple(
        TrialCell(
            source_address=key.source_address,
            address=key.address,
            protocol=key.protocol,
            ports=ports,
            evidence=evidence,
        )
        for key, ports, evidence in conclusion.cells
    )


async def with_child(child: TrialChild, work: Coroutine[Any, Any, T]) -> T:
    """Do something while a packet child is there."""
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(child.run(), name="packet child")
        done = await _settled(work)
        keeper.cancel()
    if isinstance(done, Exception):
        raise done
    return done


async def _settled(work: Awaitable[T]) -> T | Exception:
    """What came of it: a group would wrap what is raised in it."""
    try:
        return await work
    except ChildFailedError as error:
        return Problem(str(error))
    except (Problem, OSError) as error:
        return error
