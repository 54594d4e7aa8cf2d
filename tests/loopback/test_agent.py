"""The agent's daemon against a real broker and a coordinator made of a key and a link."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from probes.child.protocol import FromChild
from reachability.observation import Lookup
from reachability.vocabulary import Reason
from tests.loopback import fake_child
from tests.loopback.agents import agent, configure
from tests.loopback.estate import Running
from tests.loopback.middle import Middle, arm, go, of
from tests.support.waiting import HANG_S, handle_of, has_ended, until
from wire.messages import Ack, Armed, Batch, Close, Done, Plan, Resolve, Resolved, Status, Stop
from wire.signing import next_sequence, pack_down


@pytest.mark.asyncio
async def test_a_round_from_both_sides(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent"):
            status = await middle.hear(Status)
            assert (status.name, status.online, status.spooled) == ("dev-1", True, 0)
            await middle.tell(Plan(digest="d", rate_pps=500))
            await middle.tell(go("r1", "10.30.0.21", "10.99.0.1"))
            batch = await middle.hear(Batch, of("r1"))
            done = await middle.hear(Done)
            assert (done.round, done.sequence, done.tail_s, done.ok) == ("r1", batch.sequence, 1.0, True)
            (refused,) = batch.sources[0].observations
            assert (refused.address, refused.reason) == ("10.99.0.1", Reason.NOT_ALLOWED)
            await middle.tell(arm("r2"))
            assert (await middle.hear(Armed)).ok
            await middle.tell(Close(round="r2"))
            report = await middle.hear(Batch, of("r2"))
            assert report.witnesses[0].round == "r2"
            assert (report.sequence, report.spool) == (batch.sequence + 1, batch.spool)
            shown = await middle.hear(Status, lambda said: bool(said.refusals))
            assert "10.99.0.1 is in no network" in shown.refused[0]


@pytest.mark.asyncio
async def test_names_are_looked_up_here(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent"):
            await middle.hear(Status)
            await middle.tell(Resolve(id="7", names=("127.0.0.1",)))
            assert await middle.hear(Resolved) == Resolved(
                id="7", lookups=(Lookup(name="127.0.0.1", addresses=("127.0.0.1",)),)
            )


@pytest.mark.asyncio
async def test_only_the_coordinator_is_obeyed_and_once(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link:
            async with agent(config, tmp_path / "agent"):
                await middle.hear(Status)
                order = Resolve(id="1", names=())
                taken = await middle.tell(order)
                await middle.hear(Resolved)
                now = time.time()
                later = next_sequence(middle.sequence, now) + 1000
                stranger = SigningKey.generate()
                pack = partial(pack_down, sequence=later, body=order, now=now, echo=middle.challenge)
                bad = {
                    "replayed": taken,
                    "unsigned": b"\x01\x00" + msgspec.msgpack.encode(order) + b"\0" * 80,
                    "altered": taken[:-1] + bytes([taken[-1] ^ 1]),
                    "another key": pack(stranger, "dev-1"),
                    "for agent 'prod-1'": pack(middle.key, "prod-1"),
                    "expired": pack(middle.key, "dev-1", expires_s=-4000.0),
                    "held back": pack(middle.key, "dev-1", echo=b"\1" * 16),
                    "the coordinator is older": pack(middle.key, "dev-1", echo=b""),
                    "schema version 9": b"\x09" + taken[1:],
                }
                for words, payload in bad.items():
                    await middle.send(payload, order)
                    match = words.split()[-1] if words == "another key" else words
                    said = await middle.hear(Status, lambda s, match=match: any(match in why for why in s.refused))  # type: ignore[misc]
                    assert said.refusals
                first = said.instance
            async with agent(config, tmp_path / "agent"):
                await middle.hear(Status, lambda s: s.online and s.instance != first)
                await middle.send(taken, order)
                await middle.hear(
                    Status, lambda s: s.instance != first and any("another start" in why for why in s.refused)
                )
                await middle.tell(Resolve(id="2", names=()))
                assert (await middle.hear(Resolved)).id == "2"
        assert [said.id for said in middle.seen if isinstance(said, Resolved)] == ["1", "2"]


@pytest.mark.asyncio
async def test_what_is_not_acknowledged_comes_again_after_the_broker_died(
    running_site: Running, tmp_path: Path
) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent") as daemon:
            await middle.hear(Status)
            for name in ("r1", "r2", "r3"):
                await middle.tell(go(name, "10.30.0.21"))
                await middle.hear(Done, of(name))
                await middle.hear(Batch, of(name))
            batches = {said.sequence: said for said in middle.seen if isinstance(said, Batch)}
            await middle.tell(Ack(spool=batches[1].spool, sequence=1))
            await until(
                lambda: 1 not in daemon._spool.sequences()
            )  # the broker has it, and must not die before the agent does
            os.kill(site.broker.pid, signal.SIGKILL)
            async with asyncio.timeout(HANG_S):
                await middle.link.wait_connected(after=1)
            middle.unheard.clear()  # what came again before
            again = [await middle.hear(Batch, of("r2")), await middle.hear(Batch, of("r3"))]
            assert [batch.sequence for batch in again] == [2, 3]
            assert {batch.oldest for batch in again} == {2}
            await middle.tell(Ack(spool=again[0].spool, sequence=3))
            await middle.tell(go("r4", "10.99.0.1"))
            await middle.hear(Batch, of("r4"))
            status = await middle.hear(Status, lambda said: bool(said.refusals))
            assert status.spooled <= 1


@pytest.mark.asyncio
async def test_a_new_certificate_signs_from_the_next_connection_on(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent"):
            first = await middle.hear(Status)
            configure(site, tmp_path / "agent")
            os.kill(site.broker.pid, signal.SIGKILL)
            renewed = await middle.hear(Status, lambda said: said.online and said.certificate != first.certificate)
            assert (renewed.instance, renewed.key != first.key) == (first.instance, True)
            await middle.tell(go("r1", "10.30.0.21"))
            assert (await middle.hear(Done)).ok


def heard_too(heard: Callable[[FromChild], None], hangs: asyncio.Event) -> Callable[[FromChild], None]:
    """Tells when the child is about to hang."""

    def hear(message: FromChild) -> None:
        heard(message)
        if message == fake_child.ABOUT_TO_HANG:
            hangs.set()

    return hear


@pytest.mark.asyncio
async def test_a_child_that_crashes_hangs_or_is_stopped(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent") as daemon:
            await middle.hear(Status)
            hangs = asyncio.Event()
            daemon._child._heard = heard_too(daemon._child._heard, hangs)
            daemon._child._idle_s = 600.0  # it ends by what happens here
            await middle.tell(go("r1", fake_child.CRASHES))
            crashed = await middle.hear(Done)
            assert not crashed.ok
            assert "ended unexpectedly with code 3" in crashed.problems[0]
            await middle.tell(go("r2", "10.30.0.21"))
            assert (await middle.hear(Done)).ok, "the next round has a new child"
            await middle.tell(go("r3", fake_child.HANGS))
            await hangs.wait()
            with handle_of(daemon._child.pid) as child:
                await middle.tell(Stop(reason="maintenance"))
                stopped = await middle.hear(Done)
                assert (stopped.ok, stopped.problems) == (False, ("stopped: maintenance",))
                assert await asyncio.to_thread(has_ended, child), "a stop ends all probing, though it obeys none"
            await until(lambda: not daemon._child.pid)
            await middle.tell(Stop(reason="again"))
            await middle.tell(Resolve(id="after the stop", names=()))
            await middle.hear(Resolved)
            assert not daemon._child.pid, "no child is started to be told to stop"
            await middle.tell(go("r4", "10.30.0.21"))
            assert (await middle.hear(Done)).ok


@pytest.mark.asyncio
async def test_an_order_that_raises_is_refused_and_the_next_is_obeyed(
    running_site: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link, agent(config, tmp_path / "agent") as daemon:
            await middle.hear(Status)
            with monkeypatch.context() as broken:
                broken.setattr(daemon._rounds, "obey", lambda _: 1 / 0)
                await middle.tell(Close(round="r1"))
                said = await middle.hear(Status, lambda s: any("a fault in segwatch" in why for why in s.refused))
                assert said.refusals == 1
            await middle.tell(Resolve(id="2", names=()))
            assert (await middle.hear(Resolved)).id == "2"
