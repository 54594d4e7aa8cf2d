"""What the service manager is told, at a socket of the test's own."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.manager import Manager
from wire.process.notify import Notifier


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = (
        str(tmp_path / "notify") if request.param == "a path" else f"@segwatch-test-{os.getpid()}-{time.time_ns()}"
    )
    with Manager(address) as opened:
        yield opened


def test_each_word_is_a_datagram(manager: Manager) -> None:
    notifier = Notifier(manager.address, 30.0)
    assert notifier
    before = time.monotonic_ns() // 1000
    notifier.ready("it serves")
    notifier.alive("it\nserves\nstill")
    notifier.stuck("it hangs")
    notifier.reloading()
    notifier.stopping()
    notifier.alive("it serves no more")
    *told, reloading, stopping = manager.told()
    assert told == ["READY=1\nSTATUS=it serves", "WATCHDOG=1\nSTATUS=it serves still", "STATUS=it hangs"]
    name, _, at = reloading.partition("\nMONOTONIC_USEC=")
    assert name == "RELOADING=1"
    assert before <= int(at) <= time.monotonic_ns() // 1000
    assert stopping == "STOPPING=1\nSTATUS=stopped"
    assert not notifier


def test_it_is_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = Notifier.taken(environment)
    assert notifier
    assert notifier.watchdog_s == 120.0
    assert environment == {"A": "b"}


@pytest.mark.parametrize(
    ("environment", "listens"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "1000000"}, False),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, True),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, True),
        ({"NOTIFY_SOCKET": "/run/x"}, True),
    ],
    ids=["nothing", "no socket", "another process's watchdog", "no number", "no watchdog"],
)
def test_nobody_waits_for_a_sign_of_life(environment: dict[str, str], listens: bool) -> None:
    notifier = Notifier.taken(environment)
    assert (bool(notifier), notifier.watchdog_s) == (listens, 0.0)


@pytest.mark.parametrize(
    "address", ["", "/nowhere/notify", "@segwatch-nobody", "vsock:2:1234", "/" + "long" * 99, "a\0b"]
)
def test_a_manager_that_is_not_there_is_no_error(address: str) -> None:
    Notifier(address).ready("it serves")


def test_a_manager_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("wire.process.notify.SEND_S", 0.001)
    with Manager(str(tmp_path / "notify")) as manager:
        manager.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        notifier = Notifier(manager.address)
        for _ in range(600):  # more than wait in line at any host
            notifier.alive("it serves")
        assert 0 < len(manager.told()) < 600
