"""DNS rebinding: whoever points a name here and has a browser ask for it gets nothing, whatever the path."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from coordinator.api.auth import ApiError, name_of
from coordinator.api.guard.hosts import NAMES, known_host

OURS = {NAMES: frozenset({"segwatch.example"})}
PATHS = ("/api/v1/status", "/metrics", "/healthz", "/else")


async def _answer(_: Any) -> Any:
    return "answered"


def ask(path: str, *hosts: str) -> Any:
    asked: Any = SimpleNamespace(app=OURS, path=path, headers=CIMultiDict([("Host", host) for host in hosts]))
    return asyncio.run(known_host(asked, _answer))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    ["segwatch.example", "SEGWATCH.example:8600", "localhost:1", "127.0.0.1", "[::1]:8600", "10.0.0.1:8600", "[fd00::1]"],
)  # fmt: skip
def test_an_address_or_a_name_of_ours_is_answered(path: str, host: str) -> None:
    assert ask(path, host) == "answered"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "hosts",
    [("evil.example",), ("evil.example:8600",), ("localhost.evil.example",), ("127.0.0.1.",), ("127.1",), ("",), (),
     ("localhost", "evil.example"), ("x.segwatch.example",), ("[evil]",), ("localhost@evil.example",), ("a:b:c",)],
)  # fmt: skip
def test_any_other_name_is_misdirected_on_every_path(path: str, hosts: tuple[str, ...]) -> None:
    with pytest.raises(ApiError, match="does not answer to that name.*--web-name") as caught:
        ask(path, *hosts)
    assert caught.value.status == 421


def test_of_a_header_the_name_counts() -> None:
    assert [name_of(host) for host in ("A.b:1", "a", "[::1]:9", "[::1]", "::1", "")] == [
        "a.b",
        "a",
        "::1",
        "::1",
        "::1",
        "",
    ]
