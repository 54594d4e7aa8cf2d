"""The agent's process against a real broker: how it ends, what its next start finds, and what it holds while idle."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from agent.childproc import END_S
from agent.daemon import GOODBYE_S
from agent.spool import Spool
from reachability.observation import SourceReport
from tests.loopback.agents import configure
from tests.loopback.estate import Running, Site
from tests.loopback.middle import Middle, go, of
from tests.support.waiting import HANG_S, until
from wire.messages import Ack, Batch, Status
from wire.mqtt import DISCONNECT_S

# What waits for the network in vain then does so until the test is over: an end that waits for it is no end.
NO_END_OF_WAITING = "import wire.dial, wire.mqtt; wire.dial.DIAL_S = wire.mqtt.DIAL_S = wire.mqtt.PUBLISH_S = 600.0"


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
