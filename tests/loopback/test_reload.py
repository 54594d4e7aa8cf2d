"""A round that is under way while the agent's configuration is read again, with a packet child that is a process."""

from pathlib import Path

import msgspec
import pytest

from tests.loopback import fake_child
from tests.loopback.agents import agent, configure
from tests.loopback.estate import Running
from tests.loopback.middle import Middle, go, of
from tests.support.waiting import until
from wire.messages import Batch, Done, Plan, Status


@pytest.mark.asyncio
async def test_what_is_forbidden_now_ends_its_round_and_the_next_one_keeps_to_it(
    running_site: Running, tmp_path: Path
) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent") as daemon:
            await middle.hear(Status)
            await middle.tell(Plan(digest="d"))
            await middle.tell(go("r1", fake_child.SLOW))
            await until(lambda: daemon._child.pid)
            child = daemon._child.pid
            daemon.take(msgspec.structs.replace(config, rate_pps=10))
            await until(daemon._child._orders.empty)
            assert list(daemon._rounds) == ["r1"], "a lower rate ends no round"
            assert daemon._child.pid == child

            daemon.take(msgspec.structs.replace(config, deny=(fake_child.SLOW,)))
            done = await middle.hear(Done)
            why = f"{fake_child.SLOW} is in {fake_child.SLOW}/32, which this agent's configuration denies"
            assert (done.round, done.ok, done.problems) == ("r1", False, (f"stopped: {why}",))
            assert (await middle.hear(Batch, of("r1"))).sources[0].observations == ()
            shown = await middle.hear(Status, lambda said: bool(said.refusals))
            assert why in shown.refused

            await middle.tell(go("r2", "10.30.0.21", fake_child.SLOW))
            batch = await middle.hear(Batch, of("r2"))
            assert [seen.address for seen in batch.sources[0].observations] == [fake_child.SLOW]
            assert batch.sources[0].packets not in {0, child}, "by another child: the first one was told to stop"
            assert (await middle.hear(Done, of("r2"))).ok
