"""A reload that was asked for: whoever asked hears of its end, be the file loaded, refused or the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

from coordinator.topology.load import load_topology
from coordinator.topology.reload import Watch
from reachability.topology import Topology
from tests.support.rounds import TOPOLOGY
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
