"""The agent's daemon against a real broker and a coordinator made of a key and a link."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import pytest
from nacl.signing import SigningKey

from agent.childproc import END_S
from agent.config import AgentConfig, Credentials, save
from agent.daemon import GOODBYE_S, Daemon
from agent.journal import open_log
from agent.spool import Spool
from coordinator.broker import pki
from coordinator.messaging.signers import NotKnownYet, Signers
from probes.child.protocol import FromChild
from reachability.observation import Lookup, SourceReport, Target
from reachability.vocabulary import Protocol, Reason, RoundKind
from tests.loopback import fake_child
from tests.loopback.estate import Site
from tests.support.waiting import HANG_S, handle_of, has_ended, until
from wire.envelope import AnyUp
from wire.messages import Ack, Arm, Armed, Batch, Close, Done, Go, Plan, Resolve, Resolved, Status, Stop
from wire.mqtt import DISCONNECT_S, Link
from wire.signing import AnyDown, channel_of, next_sequence, pack_down
from wire.topics import all_up, down, parse_up

Running = Callable[[], AbstractAsyncContextManager[Site]]
# What waits for the network in vain then does so until the test is over: an end that waits for it is no end.
NO_END_OF_WAITING = "import wire.dial, wire.mqtt; wire.dial.DIAL_S = wire.mqtt.DIAL_S = wire.mqtt.PUBLISH_S = 600.0"
FAKE_CHILD = (sys.executable, fake_child.__file__)
M = TypeVar("M")


class Middle:
    """What a coordinator does on the wire, by hand."""

    def __init__(self, site: Site) -> None:
        self.key = pki.load_signing_key(site.pki)
        self.link = Link(site.broker.endpoint(), subscriptions=all_up())
        self.signers = Signers((site.pki / "ca.pem").read_bytes(), time.time)
        self.sequence = 0
        self.challenge = b""
        self.seen: list[AnyUp] = []
        self.unheard: list[AnyUp] = []

    async def tell(self, body: AnyDown) -> bytes:
        self.sequence = next_sequence(self.sequence, time.time())
        return await self.send(
            pack_down(self.key, "dev-1", self.sequence, body, time.time(), echo=self.challenge), body
        )

    async def send(self, payload: bytes, body: AnyDown) -> bytes:
        await self.link.publish(down("dev", "dev-1", channel_of(body)), payload)
        return payload

    async def hear(self, kind: type[M], fits: Callable[[M], bool] = lambda _: True) -> M:
        """The first message of that kind that was not heard yet; those of one topic come in order, of two they do not."""
        for said in self.unheard:
            if isinstance(said, kind) and fits(said):
                self.unheard.remove(said)
                return said
        async with asyncio.timeout(HANG_S):
            async for message in self.link.messages():
                topic = parse_up(message.topic)
                assert topic is not None
                message.done()
                try:
                    said = self.signers.open(topic, message.payload)
                except NotKnownYet:  # a batch from before the first status: it comes again
                    continue
                if isinstance(said, Status) and said.online:
                    self.challenge = said.challenge
                self.seen.append(said)
                if isinstance(said, kind) and fits(said):
                    return said
                self.unheard.append(said)
        raise AssertionError


def configure(site: Site, directory: Path, *, name: str = "dev-1", url: str = "") -> AgentConfig:
    """What `segwatch agent --bundle` leaves in a state directory."""
    directory.mkdir(exist_ok=True)
    broker = site.credentials(name)
    for file, path in (("agent.pem", broker.certificate), ("agent.key", broker.key), ("ca.pem", broker.ca)):
        (directory / file).write_bytes(path.read_bytes())
        (directory / file).chmod(0o600)
    (directory / "coordinator.pub").write_bytes((site.pki / "coordinator.pub").read_bytes())
    config = AgentConfig(
        name=name,
        environment=name.partition("-")[0],
        broker=url or site.url,
        credentials=Credentials(server_name=pki.BROKER_NAME),
        allow=("10.30.0.0/24", "127.0.0.1"),
    )
    save(config, directory)
    return config


@asynccontextmanager
async def agent(config: AgentConfig, directory: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(config, directory, open_log("dev-1", as_json=True), child=FAKE_CHILD)
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run(), name="agent")
        try:
            yield daemon
        finally:
            daemon.stop()


@contextmanager
def process(directory: Path, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """`before` is done in it first."""
    run = (
        ["-c", f"import runpy; {before}; runpy.run_module('agent', run_name='__main__')"] if before else ["-m", "agent"]
    )
    command = [sys.executable, "-P", *run, "--state-dir", str(directory), "--log", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=directory) as running:
        try:
            yield running
        finally:
            running.kill()


def target(address: str, number: int = 1) -> Target:
    return Target(id=number, environment="prod", address=address, protocol=Protocol.TCP, ports="22")


def of(name: str) -> Callable[[Batch | Done], bool]:
    """What is said of a round: a batch comes again after some seconds without an acknowledgement."""

    def fits(said: Batch | Done) -> bool:
        if isinstance(said, Done):
            return said.round == name
        return name in {s.round for s in said.sources} | {w.round for w in said.witnesses}

    return fits


def go(name: str, *addresses: str) -> Go:
    targets = tuple(target(address, number) for number, address in enumerate(addresses))
    return Go(round=name, key=b"k" * 16, kind=RoundKind.NORMAL, targets=targets)


def arm(name: str) -> Arm:
    return Arm(round=name, key=b"k" * 16, kind=RoundKind.NORMAL, source="prod-1", targets=(target("10.10.0.10"),))


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
async def test_sigterm_ends_it_and_its_status_says_so(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle = Middle(site)
        configure(site, tmp_path / "agent")
        async with middle.link:
            with process(tmp_path / "agent", NO_END_OF_WAITING) as running:
                assert (await middle.hear(Status)).online
                running.send_signal(signal.SIGTERM)
                assert not (await middle.hear(Status)).online
                assert await asyncio.to_thread(running.wait, HANG_S) == 0
    assert GOODBYE_S + DISCONNECT_S + END_S <= 2.0, "all that it may wait for at its end"


@pytest.mark.asyncio
async def test_kill_9_leaves_a_will_and_a_state_that_the_next_start_reads(
    running_site: Running, tmp_path: Path
) -> None:
    async with running_site() as site:
        middle = Middle(site)
        configure(site, tmp_path / "agent")
        spool = Spool(tmp_path / "agent" / "spool.sqlite")
        spool.put(sources=(SourceReport(round="before", agent="dev-1"),))
        spool.close()
        async with middle.link:
            with process(tmp_path / "agent") as running:
                assert (await middle.hear(Status)).online
                await middle.hear(Batch)
                running.kill()
                await middle.hear(Status, lambda said: not said.online)  # the last will
            with process(tmp_path / "agent") as running:
                assert (await middle.hear(Status, lambda said: said.online)).online
                assert (await middle.hear(Batch)).sources[0].round == "before"


@pytest.mark.asyncio
async def test_a_second_agent_on_its_state_directory_is_refused(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle = Middle(site)
        configure(site, tmp_path / "agent")
        async with middle.link:
            with process(tmp_path / "agent") as first:
                await middle.hear(Status)
                with process(tmp_path / "agent") as second:
                    assert await asyncio.to_thread(second.wait, HANG_S) == 2
                    assert second.stderr
                    assert f"is held by another agent (process {first.pid})" in second.stderr.read()


@pytest.mark.asyncio
async def test_sigterm_while_the_broker_says_nothing(tmp_path: Path) -> None:
    """A firewall that swallows the handshake must not hold up the end."""
    site = Site(tmp_path)
    configure(site, tmp_path / "agent")
    accepted = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", site.port)
    async with server:
        with process(tmp_path / "agent", NO_END_OF_WAITING) as running:
            async with asyncio.timeout(HANG_S):
                await accepted.wait()
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, HANG_S) == 0


@pytest.mark.asyncio
async def test_an_idle_agent_holds_one_connection_and_no_process(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle = Middle(site)
        configure(site, tmp_path / "agent")
        async with middle.link:
            with process(tmp_path / "agent") as running:
                await middle.hear(Status)
                for number in range(5):
                    await middle.tell(go(f"r{number}", *["10.99.0.1"] * 200))
                    batch = await middle.hear(Batch, of(f"r{number}"))
                    await middle.tell(Ack(spool=batch.spool, sequence=batch.sequence))
                held = psutil.Process(running.pid)
                await until(lambda: not held.children())  # the one that looks at the certificate ends by itself
                (connection,) = held.net_connections()
                assert connection.raddr.port == site.port


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
                said = await middle.hear(Status, lambda s: any("a fault of segwatch" in why for why in s.refused))
                assert said.refusals == 1
            await middle.tell(Resolve(id="2", names=()))
            assert (await middle.hear(Resolved)).id == "2"
