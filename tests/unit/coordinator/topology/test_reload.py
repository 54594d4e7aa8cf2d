"""A reload: whoever asked for it hears of its end, be the file loaded, refused or the same; what is refused changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from coordinator.topology.document import Problem
from coordinator.topology.load import TopologyErrors, load_topology
from coordinator.topology.reload import RefusedFile, Watch
from reachability.topology import Topology
from tests.support.rounds import TOPOLOGY
from tests.support.topologies import large_file
from tests.support.virtual import run


def test_whoever_asked_hears_of_the_end(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_bytes(TOPOLOGY)
    happened: list[str] = []

    async def take(topology: Topology) -> None:
        happened.append(f"taken {len(topology.environments)}")

    async def scene() -> None:
        watch = Watch(file, load_topology(file), take, lambda: 0.0)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run(), name="watch")
            for text in (TOPOLOGY, b"version: 1\n", TOPOLOGY.replace(b"confirm: 1", b"confirm: 2")):
                await asyncio.sleep(5)
                file.write_bytes(text)
                watch.look(lambda: happened.append("looked, refused" if watch.refused else "looked"))
            await asyncio.sleep(5)
            watching.cancel()

    run(scene())
    assert happened == ["looked", "looked, refused", "taken 3", "looked"]


def ended(watching: asyncio.Task[None]) -> None:
    watching.cancel()


def test_a_plan_that_is_too_large_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_bytes(TOPOLOGY)
    taken: list[Topology] = []

    async def take(topology: Topology) -> None:
        taken.append(topology)

    async def scene() -> Watch:
        watch = Watch(file, load_topology(file), take, lambda: 0.0)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run(), name="watch")
            file.write_bytes(large_file(1000, 1001))
            watch.look(lambda: ended(watching))
        return watch

    watch = run(scene())
    assert taken == []
    assert watch.refused is not None
    [error] = watch.refused.errors
    assert error.startswith(f"{file}: its plan has 3,003,000 targets, ")


def test_the_old_one_is_in_force_until_the_new_one_is_taken(tmp_path: Path) -> None:
    """Taking it is a plan that is made meanwhile."""
    file = tmp_path / "topology.yaml"
    file.write_bytes(TOPOLOGY)
    now, shown = 5.0, []

    async def scene() -> None:
        async def take(_: Topology) -> None:
            shown.append(watch.loaded_at)

        watch = Watch(file, load_topology(file), take, lambda: now)
        nonlocal now
        now = 9.0
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run(), name="watch")
            file.write_bytes(TOPOLOGY + b"# another\n")
            watch.look(lambda: ended(watching))
        shown.append(watch.loaded_at)

    run(scene())
    assert shown == [5.0, 9.0]


def test_one_that_comes_while_another_is_planned_waits_for_it_and_is_the_last_in_force(tmp_path: Path) -> None:
    """Whoever asked for the first hears of the first; what came meanwhile is not forgotten, and no plan is overtaken."""
    file = tmp_path / "topology.yaml"
    file.write_bytes(TOPOLOGY)
    happened: list[str] = []

    async def scene() -> None:
        going_on, planning = asyncio.Event(), asyncio.Event()

        async def take(topology: Topology) -> None:
            happened.append(f"plans {topology.probing.confirm}")
            planning.set()
            await going_on.wait()
            happened.append(f"in force {topology.probing.confirm}")

        watch = Watch(file, load_topology(file), take, lambda: 0.0)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run(), name="watch")
            file.write_bytes(TOPOLOGY.replace(b"confirm: 1", b"confirm: 2"))
            watch.look(lambda: happened.append("looked"))
            await planning.wait()
            for confirm in (b"3", b"4"):
                file.write_bytes(TOPOLOGY.replace(b"confirm: 1", b"confirm: " + confirm))
                watch.look(lambda: happened.append("looked again"))
                await asyncio.sleep(5)
            assert happened == ["plans 2"]
            going_on.set()
            await asyncio.sleep(5)
            watching.cancel()

    run(scene())
    assert happened == ["plans 2", "in force 2", "looked", "plans 4", "in force 4", "looked again", "looked again"]


def test_one_whose_plan_cannot_be_made_is_refused_and_tried_again_when_somebody_asks(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_bytes(TOPOLOGY)
    now, fails, happened = 5.0, True, list[object]()

    async def take(topology: Topology) -> None:
        if fails:
            raise TopologyErrors(topology.file, [Problem(0, 0, "its plan cannot be made")])
        happened.append("in force")

    async def scene() -> None:
        nonlocal now, fails
        watch = Watch(file, load_topology(file), take, lambda: now)
        now = 9.0
        told = lambda: happened.append((watch.refused, watch.loaded_at))  # noqa: E731 - a line
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run(), name="watch")
            file.write_bytes(TOPOLOGY.replace(b"confirm: 1", b"confirm: 2"))
            watch.look(told)
            await asyncio.sleep(5)
            fails = False
            watch.look(told)
            await asyncio.sleep(5)
            watching.cancel()

    run(scene())
    refused = RefusedFile(9.0, (f"{file}: its plan cannot be made",))
    assert happened == [(refused, 5.0), "in force", (None, 9.0)]
