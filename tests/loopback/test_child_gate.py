"""A packet child that is ordered about past the daemon's checks: by the sockets of hosts that are allowed, and of one that is not."""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TypeVar

import pytest

from probes.child.protocol import Bounds, Configure, FromChild, Halted, Ready, SourceDone, ToChild, Unframer, frame
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.topology import Blackout
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.waiting import HANG_S
from wire.messages import Go

NET = f"127.{1 + os.getpid() % 200}"  # of this process alone
ALLOWED, ELSEWHERE = f"{NET}.1.1", f"{NET}.2.1"
BOUNDS = Bounds(allow=(f"{NET}.1.0/24",), rate_pps=1000)
ALWAYS = Blackout("* * * * *", 120.0, "UTC")
T = TypeVar("T")


class Child:
    """One that is really there."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "probes.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._unframer = Unframer(FromChild)  # type: ignore[arg-type]
        self._heard: list[object] = []
        self.tell(Configure(agent="dev-1", bounds=BOUNDS))
        self.hear(Ready)

    def tell(self, order: ToChild) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(frame(order))

    def hear(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        until = time.monotonic() + HANG_S
        while True:
            for message in self._heard:
                if isinstance(message, kind):
                    self._heard.remove(message)
                    return message
            left = max(0.0, until - time.monotonic())
            assert select.select([self._process.stdout], [], [], left)[0], f"no {kind.__name__}"
            self._heard += self._unframer.feed(os.read(self._process.stdout.fileno(), 65536))

    def said_of_rounds(self) -> list[object]:
        """What it said and nobody asked for."""
        return [message for message in self._heard if isinstance(message, SourceDone)]

    def end(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.end()


@pytest.fixture
def hosts() -> Iterator[dict[str, socket.socket]]:
    made = {}
    for address in ALLOWED, ELSEWHERE:
        made[address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made[address].bind((address, 20_700))
        made[address].setblocking(False)
    yield made
    for host in made.values():
        host.close()


def arrived(host: socket.socket) -> int:
    count = 0
    while True:
        try:
            host.recv(2048)
        except BlockingIOError:
            return count
        count += 1


def groups(*addresses: str) -> Go:
    """A round that sends datagrams to this host too."""
    targets = tuple(
        Target(id=n, environment="prod", address=a, protocol=Protocol.UDP, ports=PortSet.parse("20700"))
        for n, a in enumerate(addresses)
    )
    asked = tuple((target.id, target.ports) for target in targets)
    return Go(round="r", key=secrets.token_bytes(16), kind=RoundKind.NOPORTS, targets=targets, groups=asked)


def test_what_an_order_names_beside_the_hosts_own_bounds_is_not_sent_to_and_said(
    child: Child, hosts: dict[str, socket.socket]
) -> None:
    child.tell(groups(ALLOWED, ELSEWHERE))
    report = child.hear(SourceDone).report
    assert arrived(hosts[ALLOWED]) > 0
    assert arrived(hosts[ELSEWHERE]) == 0
    (refused,) = report.observations
    assert (refused.address, refused.state, refused.reason) == (ELSEWHERE, State.ERROR, Reason.NOT_ALLOWED)
    assert refused.note == f"{ELSEWHERE} is in no network that this agent's configuration allows"
    assert report.problems == (refused.note,)


def test_a_blackout_that_begins_ends_what_is_being_sent_whatever_the_daemon_does(
    child: Child, hosts: dict[str, socket.socket]
) -> None:
    child.tell(groups(*[ALLOWED] * 4))
    assert select.select([hosts[ALLOWED]], [], [], HANG_S)[0]
    child.tell(Configure(agent="dev-1", bounds=Bounds(allow=BOUNDS.allow, blackout=(ALWAYS,))))
    why = "this agent's configuration has a blackout now: '* * * * *' UTC"
    assert child.hear(Halted).why == why
    arrived(hosts[ALLOWED])
    child.tell(groups(ALLOWED))  # another, which would be over in two seconds
    assert not select.select([hosts[ALLOWED]], [], [], 2.5)[0]
    assert child.said_of_rounds() == [], "the daemon answers for what was stopped"
