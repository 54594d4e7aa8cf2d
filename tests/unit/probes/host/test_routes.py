"""What the kernel says of the ways to a destination, as rtnetlink(7) has it."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from probes.host import netlink, routes
from probes.host.routes import RTM_GETROUTE, NoRoute, Routes
from probes.packets.route import Route
from reachability.vocabulary import Reason

END, OWN = "10.30.0.10", "10.10.0.10"
NAMES = {2: "eth0", 3: "eth1"}
OIF, GATEWAY, PREFSRC, MULTIPATH = 4, 5, 7, 9
DEAD, LINKDOWN = 0x01, 0x10


def attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def route(*attributes: bytes, kind: int = routes.RTN_UNICAST) -> bytes:
    return struct.pack("=7xB4x", kind) + b"".join(attributes)


def next_hop(index: int, gateway: str, flags: int = 0) -> bytes:
    inner = attribute(GATEWAY, address(gateway))
    return struct.pack("=HBBi", 8 + len(inner), flags, 0, index) + inner


def single(index: int, gateway: str, source: str) -> bytes:
    parts = [attribute(OIF, struct.pack("=i", index)), attribute(PREFSRC, address(source))]
    return route(*parts, *([attribute(GATEWAY, address(gateway))] if gateway else []))


class Known(Routes):
    """Whose links answer, but for those that are named, and whose interfaces have one address each."""

    silent: frozenset[str] = frozenset()

    def name(self, index: int) -> str:
        return NAMES[index]

    def local(self) -> frozenset[str]:
        return frozenset({OWN})

    async def link(self, oif: int, hop: str, source: str) -> bytes | None:
        return None if hop in self.silent else b"\2" * 6

    def _own(self, oif: int, hop: str) -> str:
        return {2: OWN, 3: "10.11.0.10"}[oif]


def ways(monkeypatch: pytest.MonkeyPatch, chosen: bytes, matched: bytes, source: str = "") -> object:
    """What a look-up gives: `chosen` is the kernel's answer, `matched` the entry of its table that it comes from."""

    def answer(body: bytes) -> bytes:
        return matched if struct.unpack_from("=I", body, 8)[0] & routes.RTM_F_FIB_MATCH else chosen

    monkeypatch.setattr(routes, "_ask_kernel", answer)
    return asyncio.run(Known().lookup(END, source))


def test_each_next_hop_of_a_route_is_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel names the one of them that it would take for one flow; others take the others."""
    entry = route(attribute(MULTIPATH, next_hop(2, "10.10.0.1") + next_hop(3, "10.11.0.1") + next_hop(2, "10.10.0.2")))
    found = ways(monkeypatch, single(2, "10.10.0.2", OWN), entry, OWN)
    assert found == (
        Route("eth0", "10.10.0.2", OWN, b"\2" * 6),
        Route("eth0", "10.10.0.1", OWN, b"\2" * 6),
        Route("eth1", "10.11.0.1", OWN, b"\2" * 6),
    )


def test_where_no_source_is_asked_for_another_interface_is_another_source(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = route(attribute(MULTIPATH, next_hop(2, "10.10.0.1") + next_hop(3, "10.11.0.1") + next_hop(2, "10.10.0.2")))
    found = ways(monkeypatch, single(2, "10.10.0.1", OWN), entry)
    assert isinstance(found, tuple)
    assert [each.via for each in found] == ["eth0 10.10.0.1", "eth0 10.10.0.2"]


@pytest.mark.parametrize("flags", [DEAD, LINKDOWN])
def test_a_next_hop_that_is_down_is_none(monkeypatch: pytest.MonkeyPatch, flags: int) -> None:
    entry = route(attribute(MULTIPATH, next_hop(2, "10.10.0.1") + next_hop(3, "10.11.0.1", flags)))
    assert ways(monkeypatch, single(2, "10.10.0.1", OWN), entry, OWN) == (Route("eth0", "10.10.0.1", OWN, b"\2" * 6),)


def test_one_that_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Known, "silent", frozenset({"10.10.0.1"}))
    entry = route(attribute(MULTIPATH, next_hop(2, "10.10.0.1") + next_hop(3, "10.11.0.1")))
    assert ways(monkeypatch, single(2, "10.10.0.1", OWN), entry, OWN) == (Route("eth1", "10.11.0.1", OWN, b"\2" * 6),)
    monkeypatch.setattr(Known, "silent", frozenset({"10.10.0.1", "10.11.0.1"}))
    assert ways(monkeypatch, single(2, "10.10.0.1", OWN), entry, OWN) == NoRoute(Reason.NO_NEIGHBOUR)


@pytest.mark.parametrize("entry", [single(2, "10.10.0.1", OWN), b""])
def test_a_route_with_one_next_hop_is_one_way(monkeypatch: pytest.MonkeyPatch, entry: bytes) -> None:
    """As from a kernel that does not know the question."""

    def answer(body: bytes) -> bytes:
        if not entry and struct.unpack_from("=I", body, 8)[0]:
            raise OSError(22, "Invalid argument")
        return single(2, "10.10.0.1", OWN)

    monkeypatch.setattr(routes, "_ask_kernel", answer)
    assert asyncio.run(Known().lookup(END)) == (Route("eth0", "10.10.0.1", OWN, b"\2" * 6),)


def test_the_hosts_own_address_is_by_way_of_lo(monkeypatch: pytest.MonkeyPatch) -> None:
    own = route(attribute(OIF, struct.pack("=i", 1)), attribute(PREFSRC, address(END)), kind=routes.RTN_LOCAL)
    assert ways(monkeypatch, own, own) == (Route("lo", "", END, b"", local=True),)


def test_where_there_is_no_route_every_gateway_is_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> bytes:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(routes, "_ask_kernel", refuse)

    def dump(_: int, kind: int, __: bytes) -> list[bytes]:
        assert kind == RTM_GETROUTE
        return [single(2, "10.10.0.1", OWN), single(2, "", OWN), single(3, "10.11.0.1", OWN)]

    monkeypatch.setattr(netlink, "dump", dump)
    found = asyncio.run(Known().lookup(END))
    assert isinstance(found, tuple)
    assert [each.via for each in found] == ["eth0 10.10.0.1", "eth1 10.11.0.1"]
