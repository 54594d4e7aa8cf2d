"""How many connections there may be, and how late and long a head."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.api.auth import ApiError
from coordinator.api.guard import connections
from coordinator.api.guard.connections import HEAD_S, MOST_HEAD, Door, Places, bounded, whole_body


class Transport(asyncio.Transport):
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Inner(asyncio.Protocol):
    def __init__(self) -> None:
        self.got: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.got.append("made")

    def data_received(self, data: bytes) -> None:
        self.got.append(f"{len(data)} bytes")

    def eof_received(self) -> bool | None:
        self.got.append("eof")
        return True

    def pause_writing(self) -> None:
        self.got.append("pause")

    def resume_writing(self) -> None:
        self.got.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.got.append("lost")


class Clock:
    """Timers that end when the test says so."""

    def __init__(self) -> None:
        self.running: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> Any:
        entry = (seconds, call)
        self.running.append(entry)
        return SimpleNamespace(cancel=lambda: self.running.remove(entry))

    def goes_on(self) -> None:
        for entry in list(self.running):
            self.running.remove(entry)
            entry[1]()


@pytest.fixture
def made() -> tuple[Door, Transport, Inner, Clock]:
    transport, inner, clock = Transport(), Inner(), Clock()
    door = Door(inner, clock.later)
    door.connection_made(transport)
    return door, transport, inner, clock


Made = tuple[Door, Transport, Inner, Clock]


def test_a_head_that_is_late_ends_the_connection_however_it_trickles(made: Made) -> None:
    door, transport, inner, clock = made
    for byte in b"GET / HTTP/1.1":
        door.data_received(bytes([byte]))
    assert [seconds for seconds, _ in clock.running] == [HEAD_S], "one deadline for all of it"
    clock.goes_on()
    assert transport.aborted
    assert inner.got[:2] == ["made", "1 bytes"]


def test_one_that_sends_nothing_is_ended_too(made: Made) -> None:
    _, transport, _, clock = made
    clock.goes_on()
    assert transport.aborted


def test_a_request_that_is_being_answered_is_not_hurried_and_the_next_head_is(made: Made) -> None:
    door, transport, inner, clock = made
    door.data_received(b"GET / HTTP/1.1\r\n\r\n")
    door.head_is_here()
    for _ in range(3):
        door.data_received(b"x" * MOST_HEAD)  # a body is aiohttp's to bound
    clock.goes_on()
    assert not transport.aborted
    assert inner.got.count(f"{MOST_HEAD} bytes") == 3
    door.expect()
    assert not clock.running, "between two requests the time is aiohttp's"
    door.data_received(b"G")
    clock.goes_on()
    assert transport.aborted


def test_a_head_that_is_long_ends_the_connection(made: Made) -> None:
    door, transport, inner, _ = made
    for _ in range(MOST_HEAD // 1024 + 1):
        door.data_received(b"x" * 1024)
    assert not transport.aborted
    door.data_received(b"x" * 1024)
    assert transport.aborted
    assert inner.got.count("1024 bytes") == MOST_HEAD // 1024 + 1


def test_all_else_is_handed_on_and_an_end_is_told(made: Made) -> None:
    door, _, inner, clock = made
    assert door.eof_received() is True
    door.pause_writing()
    door.resume_writing()
    assert not door.gone.is_set()
    door.connection_lost(None)
    assert door.gone.is_set()
    assert inner.got == ["made", "eof", "pause", "resume", "lost"]
    assert not clock.running


def test_places_are_bounded_in_all_and_of_each_client() -> None:
    places = Places(most=3, most_of_one=2)
    with places.one("10.0.0.1") as first, places.one("10.0.0.1") as second:
        with places.one("10.0.0.1") as third, places.one("10.0.0.2") as other, places.one("10.0.0.3") as last:
            assert (first, second, third, other, last) == (True, True, False, True, False)
            assert places.refused == 2
        with places.one("10.0.0.3") as again:
            assert again


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("fd00:1::1", "fd00:1::ffff:2", True), ("fd00:1::1", "fd00:1:0:1::1", False), ("::ffff:10.0.0.1", "10.0.0.1", True),
     ("fe80::1%eth0", "fe80::2", True), ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False)],
)  # fmt: skip
def test_a_host_has_all_addresses_of_its_network(one: str, other: str, alike: bool) -> None:
    places = Places(most=9, most_of_one=1)
    with places.one(one), places.one(other) as free:
        assert free is not alike


def test_a_place_is_free_again_after_a_failure() -> None:
    places = Places(most=1)
    with pytest.raises(ValueError, match="x"), places.one("10.0.0.1"):
        raise ValueError("x")
    with places.one("10.0.0.2") as free:
        assert free


def asked(read: Any, transport: Any = None) -> Any:
    return SimpleNamespace(read=read, transport=transport, path="/", app={connections.BODIES: {}})


async def _answer(_: Any) -> Any:
    return "answered"


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_S", 0.0)
    with pytest.raises(ApiError, match="the body did not come within") as caught:
        asyncio.run(whole_body(asked(_never), _answer))
    assert caught.value.status == 408


async def _never() -> None:
    await asyncio.Event().wait()


def test_a_body_that_comes_is_answered() -> None:
    async def read() -> bytes:
        return b"{}"

    assert asyncio.run(whole_body(asked(read), _answer)) == "answered"


def test_the_door_is_told_of_each_request(made: Made) -> None:
    door, transport, _, clock = made
    transport.get_protocol = lambda: door  # type: ignore[method-assign]

    async def answering(_: Any) -> Any:
        assert not clock.running, "its head is here"
        raise ApiError(404, "none")

    door.data_received(b"x" * (MOST_HEAD + 1))
    with pytest.raises(ApiError):
        asyncio.run(bounded(asked(None, transport), answering))
    door.data_received(b"x")
    assert not transport.aborted
    assert clock.running, "the next head's"
