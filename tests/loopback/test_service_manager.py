"""Both daemons as a service manager sees them: what they say at $NOTIFY_SOCKET, and what SIGHUP does to each."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from agent.config import FILE, Window, save
from tests.loopback.agents import configure
from tests.loopback.coordinators import coordinator, put
from tests.loopback.estate import Running, Site
from tests.loopback.middle import Middle, arm
from tests.support.manager import Manager
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, wait_for
from wire.messages import Armed, Plan, Status

WATCHDOG = {"WATCHDOG_USEC": "200000"}


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager(f"@segwatch-test-{secrets.token_hex(8)}") as opened:
        yield opened


@contextmanager
def agent(directory: Path, manager: Manager) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **WATCHDOG, "NOTIFY_SOCKET": manager.address}
    command = [sys.executable, "-P", "-m", "cli.main", "agent", "--state-dir", str(directory), "--log", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=directory, env=environment) as running:
        try:
            yield running
        finally:
            running.kill()


async def heard(manager: Manager, *parts: str) -> str:
    return await asyncio.to_thread(manager.hear, *parts)


async def hung_up(process: subprocess.Popen[str], manager: Manager) -> None:
    """SIGHUP, until what it does is done."""
    process.send_signal(signal.SIGHUP)
    assert int((await heard(manager, "RELOADING=1\nMONOTONIC_USEC=")).partition("USEC=")[2]) > 0
    assert (await heard(manager, "=1\nSTATUS=")).startswith("READY=1"), "nothing else is said before that"


@pytest.mark.asyncio
async def test_an_agent_is_ready_while_its_broker_is_away(tmp_path: Path, manager: Manager) -> None:
    site = Site(tmp_path)
    configure(site, tmp_path / "agent")
    with agent(tmp_path / "agent", manager) as running:
        assert (await heard(manager, "READY=1")).startswith("READY=1\nSTATUS=waiting for the broker")
        await heard(manager, "WATCHDOG=1", f"STATUS=waiting for the broker {site.url}: ", "Connection refused")
        running.send_signal(signal.SIGTERM)
        assert await heard(manager, "STOPPING=1") == "STOPPING=1\nSTATUS=stopped"
        assert await asyncio.to_thread(running.wait, HANG_S) == 0


@pytest.mark.asyncio
async def test_an_agent_connects_reloads_and_stops(running_site: Running, tmp_path: Path, manager: Manager) -> None:
    async with running_site() as site:
        middle, config = Middle(site), configure(site, tmp_path / "agent")
        async with middle.link:
            with agent(tmp_path / "agent", manager) as running:
                await heard(manager, "READY=1")
                await heard(manager, f"WATCHDOG=1\nSTATUS=connected to 127.0.0.1:{site.port}, no round yet")
                instance = (await middle.hear(Status)).instance
                await middle.tell(Plan(digest="d"))
                await middle.tell(arm("r1"))
                await middle.hear(Armed)
                await heard(manager, "WATCHDOG=1", "last round less than a minute ago")
                for process in (psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)):
                    if process.pid != running.pid:  # its own is what it was started with, whatever it took out since
                        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & process.environ().keys(), process

                window = Window(cron="0 0 1 1 *", for_s=60.0)
                other = msgspec.structs.replace(
                    config, rate_pps=7, deny=("10.30.0.9",), blackout=(window,), broker="mqtts://127.0.0.9:1"
                )
                save(other, tmp_path / "agent")
                await hung_up(running, manager)
                said = await middle.hear(Status, lambda status: status.rate_pps == 7)
                assert said.instance == instance, "it is the same process, and has not been away"
                (tmp_path / "agent" / FILE).write_text('{"name": "dev-1", "allow": ["anywhere"]')
                await hung_up(running, manager)
                save(msgspec.structs.replace(other, rate_pps=8), tmp_path / "agent")
                await hung_up(running, manager)
                await middle.hear(Status, lambda status: status.rate_pps == 8)

                running.send_signal(signal.SIGTERM)
                await heard(manager, "STOPPING=1")
                assert not (await middle.hear(Status, lambda status: not status.online)).refusals
                assert await asyncio.to_thread(running.wait, HANG_S) == 0
                assert running.stderr
                lines = [json.loads(line) for line in running.stderr.read().splitlines()]
    loaded, refused, again = [line for line in lines if line["event"].startswith("configuration ")]
    assert loaded["changed"] == ["deny", "rate_pps", "blackout"]
    assert refused["event"] == "configuration refused, the old one stays in force"
    assert str(tmp_path / "agent" / FILE) in refused["problem"]
    assert again["changed"] == ["rate_pps"]
    kept = [line["changed"] for line in lines if line["event"].startswith("needs a restart")]
    assert kept == [["broker"], ["broker"]]
    assert sum(line["event"] == "connected" for line in lines) == 1


def test_a_coordinator_is_ready_when_it_serves_and_says_what_it_sees(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", WATCHDOG["WATCHDOG_USEC"])
    with coordinator(tmp_path) as running:
        manager.hear("READY=1\nSTATUS=", "0 of 5 agents here, no round yet: ", " not run")
        assert running.request("GET", "/healthz")[0] in {200, 503}, "its sockets are open"
        said = manager.hear("WATCHDOG=1\nSTATUS=0 of 5 agents here")
        assert said.endswith(" not run")
        (broker,) = psutil.Process(running.process.pid).children()
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & broker.environ().keys()

        put(tmp_path / "topology.yaml", "version: 1\nenvironments: {}\n")
        running.process.send_signal(signal.SIGHUP)
        manager.hear("RELOADING=1\nMONOTONIC_USEC=")
        manager.hear("READY=1\nSTATUS=the topology file is refused, the old one stays in force; 0 of 5 agents here")
        put(tmp_path / "topology.yaml", (ROOT / "topology.yaml").read_text())
        running.process.send_signal(signal.SIGHUP)
        manager.hear("RELOADING=1\nMONOTONIC_USEC=")
        manager.hear("READY=1\nSTATUS=0 of 5 agents here")

        token = (tmp_path / "state" / "token").read_text().strip()
        assert running.request("POST", "/api/v1/stop", Authorization=f"Bearer {token}")[0] == 200
        manager.hear("STATUS=all probing is stopped")

        running.process.send_signal(signal.SIGTERM)
        assert manager.hear("STOPPING=1") == "STOPPING=1\nSTATUS=stopped"
        assert running.process.wait(HANG_S) == 0


def test_a_coordinator_that_stands_still_says_nothing(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", WATCHDOG["WATCHDOG_USEC"])
    with coordinator(tmp_path) as running:
        manager.hear("WATCHDOG=1")
        running.process.send_signal(signal.SIGSTOP)
        process = psutil.Process(running.process.pid)
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED)
        manager.told()
        try:
            manager.socket.settimeout(1.0)  # ten of its signs of life
            with pytest.raises(TimeoutError):
                manager.socket.recv(1)
        finally:
            running.process.send_signal(signal.SIGCONT)
        manager.hear("WATCHDOG=1")
