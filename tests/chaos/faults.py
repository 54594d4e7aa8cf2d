"""Each kind of fault: how it is done, how it is undone, and by what one sees that it is over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.sealed import Process
from tests.chaos import plan
from tests.chaos.world import BROKER, PATH, World
from tests.lab.small import AGENTS

Status = Mapping[str, Any]
Heal = Callable[[], None]
Over = Callable[[Status, float], bool]  # a status, and when it was undone: epoch seconds


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that stands: how to undo it, and whether a later status shows that all is well again."""

    heal: Heal
    over: Over


def inflict(world: World, kind: str, target: str) -> Done:
    """Do it."""
    match kind:
        case "kill -9 an agent" | "kill -9 the coordinator":
            world.kill(target)
            return Done(lambda: world.start(target), works(target))
        case "kill -9 the broker":
            world.signal(BROKER, signal.SIGKILL)
            return Done(_nothing, works(BROKER))
        case "SIGSTOP an agent" | "SIGSTOP the coordinator" | "SIGSTOP the broker":
            world.signal(target, signal.SIGSTOP)
            return Done(lambda: world.signal(target, signal.SIGCONT), works(target))
        case "cut an agent's wire":
            world.wire(target, "down")
            return Done(lambda: world.wire(target, "up"), works(target))
        case "drop the way to the broker":
            who = AGENTS.get(target, ("0.0.0.0/0",))
            four = next(address for address in who if ":" not in address)
            world.drop(
                f"broker_{target}", f"ip saddr {four} tcp dport 8883 drop", f"ip daddr {four} tcp sport 8883 drop"
            )
            return Done(lambda: world.drop(f"broker_{target}"), works(target))
        case "lose 30% of all packets":
            world.drop("loss", "numgen random mod 100 < 30 drop")
            return Done(lambda: world.drop("loss"), works(target))
        case "set an agent's clock by an hour" | "set the coordinator's clock by an hour":
            world.set_clock(target, world.an_hour())
            return Done(lambda: world.set_clock(target, 0), works(target))
        case plan.FLOOD:
            flooding = world.flood(target)
            return Done(lambda: _ended(flooding), works(target))
        case "fill an agent's disk":
            world.fill(f"state-{target}")
            return Done(lambda: world.free(f"state-{target}"), works(target))
        case "fill the coordinator's disk":
            world.fill("state")
            return Done(lambda: world.free("state"), works(target))
        case _:
            return _to_files(world, kind, target)


def _to_files(world: World, kind: str, target: str) -> Done:
    match kind:
        case "declare a path, and take it back":
            world.write_topology(world.declaring(paths=PATH))
            return _edited(world)
        case "take an agent out of the topology":
            world.write_topology(world.declaring(without=target))
            return _edited(world, works(target))
        case "break the topology file":
            world.broken = True
            world.write_topology(world.text.replace("networks", "netwroks"))
            return _edited(world)
        case "renew a bundle by hand":
            world.kill(target)
            world.system.make_bundle(target)
            world.start(target)
            return Done(_nothing, works(target))
        case _:
            raise AssertionError(kind)


def _edited(world: World, more: Over = lambda _status, _since: True) -> Done:
    """Over when the first file is in force again, with nothing said against it."""

    def heal() -> None:
        world.write_topology(world.text)
        world.broken = False

    def over(status: Status, since: float) -> bool:
        mine = status["topology"]["digest"] == world.digest and status["topology_refused"] is None
        return mine and more(status, since)

    return Done(heal, over)


def works(target: str) -> Over:
    """A round of the agent, or of anyone where the target is no agent, was concluded since.

    By the age of what it said last: the coordinator's clock may stand wherever it likes.
    """

    def over(status: Status, since: float) -> bool:
        return any(
            agent["state"] == "connected" and agent["age_s"] is not None and time.time() - agent["age_s"] > since
            for agent in status["agents"]
            if target not in AGENTS or agent["name"] == target
        )

    return over


def _ended(process: Process) -> None:
    process.kill()


def _nothing() -> None:
    """It is over by itself."""
