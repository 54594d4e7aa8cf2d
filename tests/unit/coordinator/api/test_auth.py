"""Requests, lookups and times that the coordinator did not ask for."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.api.auth import FROM_SOCKET, KNOWN, OPEN, TOKEN, ApiError, allowed, read_body
from coordinator.packets.pcapng import microseconds
from coordinator.state.estate import Estate
from coordinator.store import Store
from reachability.observation import Lookup
from tests.support import sample


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b"\xff", b"{", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[]", b'"x"', b"1" * 5000]
)
def test_a_body_that_is_no_object_is_the_senders_error(body: bytes) -> None:
    with pytest.raises(ApiError, match="the body is not (a )?JSON") as caught:
        read_body(body)
    assert caught.value.status == 400


def test_a_body() -> None:
    assert read_body(b"") == {}
    assert read_body(b'{"by": "a"}') == {"by": "a"}


def test_a_token_of_any_bytes_is_only_wrong() -> None:
    app = {FROM_SOCKET: False, TOKEN: "t", KNOWN: lambda _: False, OPEN: False}
    asked: Any = SimpleNamespace(
        app=app, path="/api/v1/status", method="GET", headers={"Authorization": "Bearer \udcff\udcfe"}
    )

    async def handler(_: Any) -> Any:
        raise AssertionError("let through")

    with pytest.raises(ApiError, match="needs the token"):
        asyncio.run(allowed(asked, handler))


def test_a_packet_from_before_1970_is_written_at_its_first_moment() -> None:
    assert microseconds("1969-12-31T23:59:59.000000Z") == 0


def test_names_that_nobody_asked_for_are_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    estate = Estate(sample.topology(), store, lambda: 1.0)
    estate.take_lookups("dev-1", [Lookup(name=f"n{number}", addresses=("10.30.0.9",)) for number in range(100)])
    assert estate.lookups("dev-1") == {}
    assert store.lookups() == {}
    store.close()
