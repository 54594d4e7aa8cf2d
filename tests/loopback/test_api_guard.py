"""Whoever connects to the API: over TCP, past TLS, bounds, names and tokens."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from coordinator.api.guard import connections
from coordinator.api.guard import serving as guarded
from coordinator.api.guard.serving import certificate_of, serving
from coordinator.broker.addresses import Listen
from coordinator.settings import Settings
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until
from tests.support.web_certificate import issue, make_ca

EVERY = ("/metrics", "/healthz", "/api/v1/status", "/api/v1/stop", "/else")
LARGE = "/api/v1/large"
ROUTES = ("/metrics", "/healthz", "/api/v1/status")


class OffLoopback(Listen):
    """An address of loopback that is dealt with as if others could reach it."""

    __slots__ = ()
    is_loopback = False


@dataclass
class Served:
    directory: Path
    port: int
    trusting: ssl.SSLContext | None
    posted: list[bytes]

    def token(self, name: str = "token") -> str:
        return (self.directory / name).read_text().strip()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trusting)

    async def ask(self, path: str, *lines: str, method: str = "GET", body: bytes = b"", host: str = "localhost") -> int:
        """The status of the answer; 0 where it hangs up."""
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *lines,
        ]
        reader, writer = await self.open()
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            async with asyncio.timeout(HANG_S):
                answer = await reader.read()
        except ConnectionError:
            return 0
        finally:
            writer.close()
        return int(answer.split()[1]) if answer else 0


@asynccontextmanager
async def serve(tmp_path: Path, *, loopback: bool = False, names: tuple[str, ...] = ()) -> AsyncIterator[Served]:
    ca, state, posted = make_ca(tmp_path / "pki"), tmp_path / "state", list[bytes]()
    state.mkdir(mode=0o700)
    certificate, key = issue(ca, tmp_path, "127.0.0.1", "segwatch.example")
    port = free_port()

    async def get(_: web.Request) -> web.Response:
        return web.Response(text="read")

    async def post(request: web.Request) -> web.Response:
        posted.append(await request.read())
        return web.Response(text="done")

    settings = Settings(
        topology=tmp_path, pki=ca, listen=Listen("127.0.0.1", 1), state_dir=state, web_names=names,
        web=(Listen if loopback else OffLoopback)("127.0.0.1", port),
        web_cert=None if loopback else certificate, web_key=None if loopback else key,
    )  # fmt: skip
    routes = [*(web.get(path, get) for path in ROUTES), *(web.post(path, post) for path in ("/api/v1/stop", LARGE))]
    trusting = None if loopback else ssl.create_default_context(cafile=ca / "ca.pem")
    async with serving(settings, routes, certificate_of(settings), {LARGE: 100_000}):
        yield Served(state, port, trusting, posted)


@pytest.mark.asyncio
async def test_off_loopback_everything_but_health_needs_a_token_and_metrics_has_its_own(tmp_path: Path) -> None:
    async with serve(tmp_path) as api:
        owner, scraper = (f"Authorization: Bearer {api.token(name)}" for name in ("token", "metrics-token"))
        assert [await api.ask(path) for path in ROUTES] == [401, 200, 401]
        assert [await api.ask(path, scraper) for path in ROUTES] == [200, 200, 401]
        assert [await api.ask(path, owner) for path in ROUTES] == [200, 200, 200]
        for given, status in (("", 401), (scraper, 401), ("Authorization: Bearer ", 401), (owner, 200)):
            assert await api.ask("/api/v1/stop", *filter(None, [given]), method="POST", body=b"{}") == status
        assert api.posted == [b"{}"]
        for name in ("token", "metrics-token"):
            assert (api.directory / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
async def test_nobody_is_answered_without_tls(tmp_path: Path) -> None:
    async with serve(tmp_path) as api:
        api.trusting = None
        assert [await api.ask(path) for path in EVERY] == [0] * len(EVERY)


@pytest.mark.asyncio
@pytest.mark.parametrize("loopback", [True, False])
async def test_a_name_that_is_not_ours_is_answered_nothing_whatever_the_token(tmp_path: Path, loopback: bool) -> None:
    async with serve(tmp_path, loopback=loopback, names=("other.example",)) as api:
        owner = f"Authorization: Bearer {api.token()}"
        for path in EVERY:
            assert await api.ask(path, owner, host="evil.example") == 421
        assert await api.ask("/metrics", owner, host=f"Other.example:{api.port}") == 200
        assert await api.ask("/metrics", owner, host="segwatch.example") == (421 if loopback else 200), (
            "its certificate's"
        )


@pytest.mark.asyncio
async def test_on_loopback_reading_is_open_and_steering_is_not(tmp_path: Path) -> None:
    async with serve(tmp_path, loopback=True) as api:
        assert [await api.ask(path) for path in ROUTES] == [200, 200, 200]
        assert [await api.ask(path, host="10.0.0.1") for path in ROUTES] == [401, 200, 401], "forwarded by somebody"
        assert await api.ask("/api/v1/stop", method="POST", body=b"{}") == 401
        assert not api.posted


@pytest.mark.asyncio
@pytest.mark.parametrize("loopback", [True, False])
async def test_three_hundred_half_open_requests_are_ended_and_others_answered_meanwhile(
    tmp_path: Path, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "Places", lambda: connections.Places(most_of_one=20))
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.2)
    async with serve(tmp_path, loopback=loopback) as api:
        opened = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(300)]
        for _, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " if loopback else b"\x16\x03\x01")
        # Each is hung up on: those beyond the bound at once, the others when their head is late.
        async with asyncio.timeout(HANG_S):
            for reader, writer in opened:
                with contextlib.suppress(ConnectionError):
                    while await reader.read(1000):
                        pass
                writer.close()
        assert await api.ask("/healthz") == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("loopback", [True, False])
async def test_one_client_has_so_many_places_and_no_more(
    tmp_path: Path, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "Places", lambda: connections.Places(most_of_one=20))
    monkeypatch.setattr(connections, "HEAD_S", HANG_S)
    monkeypatch.setattr(connections, "HANDSHAKE_S", HANG_S)
    async with serve(tmp_path, loopback=loopback) as api:
        opened = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(30)]
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in opened]  # noqa: TID251 - awaited below
        await until(lambda: sum(one.done() for one in ended) == 10)
        with contextlib.suppress(OSError):
            assert await api.ask("/healthz") == 0
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*ended, return_exceptions=True)

        async def is_answered() -> bool:
            with contextlib.suppress(OSError):
                return await api.ask("/healthz") == 200
            return False

        async with asyncio.timeout(HANG_S):
            while not await is_answered():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_heads_and_bodies_are_bounded(tmp_path: Path) -> None:
    async with serve(tmp_path, loopback=True) as api:
        owner = f"Authorization: Bearer {api.token()}"
        assert await api.ask("/healthz", "X: " + "x" * 9000) in {0, 400, 431}
        assert await api.ask("/healthz", *(f"X{n}: {'x' * 4000}" for n in range(100))) in {0, 400, 431}
        assert await api.ask("/healthz?" + "x" * 9000) in {0, 400, 414}
        assert await api.ask("/api/v1/stop", owner, method="POST", body=b"x" * 70_000) == 413
        assert await api.ask("/healthz", body=b"x" * 70_000) == 413, "a body that nobody reads counts too"
        assert await api.ask("/api/v1/stop", owner, "Content-Encoding: gzip", method="POST", body=b"\x1f\x8bx") == 200
        assert api.posted == [b"\x1f\x8bx"], "nothing is unpacked"
        assert [await api.ask(LARGE, owner, method="POST", body=b"x" * n) for n in (70_000, 100_001)] == [200, 413]
        assert api.posted[1:] == [b"x" * 70_000], "what may be larger is"


@pytest.mark.asyncio
async def test_a_body_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_S", 0.1)
    async with serve(tmp_path, loopback=True) as api:
        reader, writer = await api.open()
        writer.write(
            f"POST /api/v1/stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token()}\r\n".encode()
        )
        writer.write(b"Content-Length: 100\r\n\r\nx")
        async with asyncio.timeout(HANG_S):
            assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        assert not api.posted


@pytest.mark.asyncio
async def test_it_ends_with_connections_open(tmp_path: Path) -> None:
    async with serve(tmp_path) as api:
        reader, writer = await api.open()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
    async with asyncio.timeout(HANG_S):
        await reader.read()
    writer.close()
    assert not (tmp_path / "state" / "coordinator.sock").exists()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", api.port)
