"""A spool's file that is older than what was acknowledged of it: a host or directory that was set back, or copied."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from agent.losses import Clock, Drop
from agent.outbox import Outbox
from agent.spool import Spool
from reachability.observation import SourceReport
from tests.support.spools import Wire, read
from wire.messages import Ack


def put(spool: Spool, *rounds: str) -> None:
    for name in rounds:
        spool.put(sources=(SourceReport(round=name, agent="dev-1"),))


def opened(path: Path) -> Spool:
    return Spool(path, clock=Clock(lambda: 0.0, lambda: 0.0, "b"))


def test_one_that_is_acknowledged_beyond_what_it_sent_is_another_spool_and_keeps_what_waits(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s")) as spool:
        put(spool, "R1")
        spool.lose(Drop.DISK)
    shutil.copytree(tmp_path, tmp_path / "before")
    with closing(opened(tmp_path / "before" / "s")) as back:
        put(back, "R2", "R3", "R4")
        was, lost = back.id, back.gap
        read(back, 3)
        assert back.acknowledge(Ack(spool=was, sequence=4)) == 0, (
            "4 was never sent: another file's batch had that number"
        )
        assert back.id != was
        assert back.sequences() == (1, 2, 3, 4, 5)
        assert (read(back, 3).spool, read(back, 3).sources[0].round) == (back.id, "R2")
        assert (back.gap, back.untold) == (lost, 1), "what it has lost stays counted"
        assert back.acknowledge(Ack(spool=was, sequence=5)) == 0
        now = back.id
        back.lose(Drop.DISK)
        assert (back.gap, back.untold, back.sequences()) == (lost + 1, 2, (1, 2, 3, 4, 5, 6))
    with closing(opened(tmp_path / "before" / "s")) as again:
        assert (again.id, again.gap, again.untold) == (now, lost + 1, 2)
        assert again.acknowledge(Ack(spool=now, sequence=6)) == 6


@pytest.mark.asyncio
async def test_what_waits_is_sent_again_at_once_under_the_new_name(tmp_path: Path) -> None:
    spool, wire = opened(tmp_path / "s"), Wire()
    outbox = Outbox(wire, spool, "t", sign=lambda sealed: sealed, clock=lambda: 0.0)
    put(spool, "R1", "R2")
    await outbox.send_due()
    assert outbox.acknowledged(Ack(spool=spool.id, sequence=7)) == 0
    async with asyncio.timeout(10):
        await outbox.send_due()
    assert wire.sent == [1, 2, 1, 2]
    spool.close()
