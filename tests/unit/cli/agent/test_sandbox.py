"""What `agent --check` says of a sandbox that forbids families of sockets: which one, and what allows it."""

from __future__ import annotations

import errno
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from agent.identity import LACKS_NET_RAW, lacks_netlink, lacks_raw
from agent.selfcheck import Sandbox
from cli.agent import sandbox
from wire.process.privileges import Held

HELD = Held(user=1000, effective=0, permitted=0, bounding=0, no_new_privileges=True, filtered=True)
FAMILIES = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"


def lines(monkeypatch: pytest.MonkeyPatch, raw_lacks: str, netlink_lacks: str = "") -> list[str]:
    found = Sandbox(daemon=HELD, child=HELD, raw_lacks=raw_lacks)
    done = subprocess.CompletedProcess([], 0, msgspec.json.encode(found), b"")
    monkeypatch.setattr("cli.agent.sandbox.subprocess.run", lambda *_, **__: done)
    monkeypatch.setattr("cli.agent.sandbox.lacks_netlink", lambda: netlink_lacks)
    return [" ".join((line.what, line.holds, *line.lacks)) for line in sandbox.lines(Path("state"), "")]


def test_what_is_allowed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    netlink, raw, *_ = lines(monkeypatch, "")
    assert "AF_NETLINK" in netlink
    assert "AF_PACKET" in raw
    assert "CAP_NET_RAW" in raw


def test_a_capability_is_advised_where_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    _, raw, *_ = lines(monkeypatch, LACKS_NET_RAW)
    assert "To grant it: AmbientCapabilities=CAP_NET_RAW" in raw


def test_a_forbidden_family_is_not_a_missing_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    _, raw, *_ = lines(monkeypatch, "it may not open packet sockets (AF_PACKET): Address family not supported")
    assert "AmbientCapabilities" not in raw
    assert FAMILIES in raw


def test_without_netlink_nothing_more_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = lines(monkeypatch, "", "this process may not open netlink sockets (AF_NETLINK): forbidden")
    assert FAMILIES in only
    assert "an agent cannot start" in only


def test_each_family_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("agent.identity.socket.socket", refuse)
    assert lacks_netlink().startswith("this process may not open netlink sockets (AF_NETLINK): Address family")
    assert lacks_raw().startswith("this process may not open packet sockets (AF_PACKET): Address family")
