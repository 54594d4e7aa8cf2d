"""How a link comes back; nothing is connected here, and no time passes."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.waiting import HANG_S
from wire import mqtt
from wire.dial import Broker, parse_url
from wire.mqtt import FIRST_DELAY_S, MOST_DELAY_S, STEADY_S, Link, next_delay

NOWHERE = Broker("192.0.2.1", 8883, Path("ca"), Path("certificate"), Path("key"))


async def pauses(count: int) -> list[float]:
    seen: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == count:
            enough.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(HANG_S), Link(NOWHERE, sleep=sleep):
        await enough.wait()
    return seen


@pytest.mark.asyncio
async def test_it_tries_again_with_growing_pauses_that_two_agents_do_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Broker) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(mqtt, "dial", refuse)
    mine, others = await pauses(8), await pauses(8)
    longest = [min(FIRST_DELAY_S * 2**count, MOST_DELAY_S) for count in range(1, 9)]
    for seen in (mine, others):
        assert all(most / 2 <= pause <= most for pause, most in zip(seen, longest, strict=True))
    assert mine != others, "a thousand agents must not come back in one moment"


def test_a_connection_that_is_taken_over_as_soon_as_it_stands_is_none_to_begin_anew_with() -> None:
    """Two processes of one name end each other's connection: each would be back within a moment, for ever."""
    delay, taken = FIRST_DELAY_S, []
    for _ in range(8):
        delay = next_delay(delay, lasted_s=0.1)
        taken.append(delay)
    assert taken == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert next_delay(delay, lasted_s=STEADY_S) == FIRST_DELAY_S


@pytest.mark.parametrize(
    ("url", "endpoints"),
    [
        ("mqtts://10.0.0.1:8884", (("10.0.0.1", 8884),)),
        ("mqtts://broker.example/", (("broker.example", 8883),)),
        ("mqtts://[fd00::1]:1,b:2, c", (("fd00::1", 1), ("b", 2), ("c", 8883))),
    ],
)
def test_a_url_names_one_node_or_several(url: str, endpoints: tuple[tuple[str, int], ...]) -> None:
    assert parse_url(url) == endpoints
    broker = Broker.parse(url, ca=Path("a"), certificate=Path("b"), key=Path("c"))
    assert broker.endpoints == endpoints
    assert str(broker) == "broker " + ", ".join(f"{host} port {port}" for host, port in endpoints)


@pytest.mark.parametrize("url", ["", "10.0.0.1", "mqtt://a", "mqtts://", "mqtts://a,", "mqtts://a/b", "mqtts://u@a"])
def test_what_is_no_url_of_a_broker(url: str) -> None:
    with pytest.raises(ValueError, match="is not mqtts://HOST:PORT"):
        parse_url(url)
