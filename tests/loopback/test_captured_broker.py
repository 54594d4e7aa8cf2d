"""A captured broker can delay. It cannot forge, replay or redirect a probe, nor what agents say; and every attempt shows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.signing import SigningKey

from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.loopback.captured import System
from tests.support.waiting import until
from wire.codec import encode
from wire.envelope import pack_up, seal, unpack_up
from wire.messages import Batch, Done, Go, Plan, Status, Stop
from wire.signing import SignedOrder, open_down, pack_down, sign_up, split
from wire.topics import DownChannel

DOWN, UP = "segwatch/v1/dev/dev-1/down/round", "segwatch/v1/dev/dev-1/up"
ATTACKERS = SigningKey(b"\7" * 32)
TARGET = Target(id=1, environment="prod", address="10.30.0.10", protocol=Protocol.TCP, ports=PortSet.parse("22"))
GO = Go(round="forged", key=b"k" * 16, kind=RoundKind.NORMAL, targets=(TARGET,))


def order_of(system: System, payload: bytes, agent: str = "dev-1") -> SignedOrder:
    return open_down(system.daemon.post._key.verify_key, payload, agent=agent)


def numbers(payloads: Sequence[bytes]) -> int:
    """How many batches these are: one that is not acknowledged comes again, with another age."""
    batches = [unpack_up(split(payload)[0]) for payload in payloads]
    return len({(batch.spool, batch.sequence) for batch in batches if isinstance(batch, Batch)})


def is_go(system: System) -> Callable[[str, bytes], bool]:
    return lambda topic, payload: topic == DOWN and isinstance(order_of(system, payload).body, Go)


def forged(system: System) -> dict[str, bytes]:
    """What somebody makes who has everything but the coordinator's key; the newest challenge too."""
    echo, later = system.daemon.estate.agents["dev-1"].challenge, int(time.time() * 1000) + 10_000_000
    goes = [payload for topic, payload in system.broker.seen if is_go(system)(topic, payload)]
    order = order_of(system, goes[-1])
    elsewhere = msgspec.structs.replace(order, body=msgspec.structs.replace(GO, round="redirected"), sequence=later)
    _, signature = split(goes[-1])
    sealed = seal(encode(elsewhere))
    return {
        "another key": pack_down(ATTACKERS, "dev-1", later, GO, time.time(), echo=echo),
        "no signature": seal(encode(elsewhere)),
        "an old signature": sealed[:2] + signature + sealed[2:],
        "another address": goes[-1].replace(b"10.30.0.10", b"10.99.0.10"),
        "a bit": goes[-1][:-1] + bytes([goes[-1][-1] ^ 1]),
        "nothing": b"",
        "noise": b"\x01\x00" + b"\xff" * 500,
        "another version": b"\x02" + goes[-1][1:],
        "a plan of its own": pack_down(
            ATTACKERS, "dev-1", later, Plan(digest="", rate_pps=10**9), time.time(), echo=echo
        ),
        "a stop of its own": pack_down(ATTACKERS, "dev-1", later, Stop(), time.time(), echo=echo),
    }


def sending(system: System, name: str) -> list[dict[str, Any]]:
    """What its packet child was told to do with packets; a `close` of the last round may come late."""
    return [order for order in system.orders(name) if order["type"] in {"arm", "go"}]


def orders_of(played: Sequence[tuple[str, bytes]]) -> int:
    """How many of them are refused aloud: an acknowledgement that comes again, which any broker may send, is dropped."""
    return sum(not topic.endswith(f"/{DownChannel.ACK}") for topic, _ in played)


@pytest.mark.asyncio
async def test_no_probe_is_forged_replayed_or_redirected(tmp_path: Path) -> None:
    system = System(tmp_path)
    async with system.running("dev-1", "prod-1"):
        await system.verify()
        await system.daemon.engine.stop("a stop to be played again")
        await system.daemon.engine.resume()
        await until(lambda: system.stops("dev-1"))
        await system.verify()
        ordered = sending(system, "dev-1"), sending(system, "prod-1")
        assert [o for o in ordered[0] if o["type"] == "go"], "there was something to play again"
        assert {t["address"] for o in ordered[0] for t in o.get("targets", [])} == {"10.30.0.10"}
        assert (system.refusals("dev-1"), system.refusals("prod-1")) == (0, 0), "an honest broker is refused nothing"
        yesterday = system.broker.down_to("dev-1")

        for payload in forged(system).values():
            system.broker.inject(DOWN, payload)
        attempts = len(forged(system))
        await until(lambda: system.refusals("dev-1") == attempts)

        for topic, payload in yesterday:  # orders, stops, plans and acks, all of them again
            system.broker.inject(topic, payload)
        attempts += orders_of(yesterday)
        await until(lambda: system.refusals("dev-1") == attempts)

        for topic, payload in yesterday:  # one agent's orders to another
            system.broker.inject(topic.replace("/dev/dev-1/", "/prod/prod-1/"), payload)
        await until(lambda: system.refusals("prod-1") == len(yesterday))
        assert "for agent 'dev-1' came to 'prod-1'" in " ".join(system.daemon.estate.agents["prod-1"].refused)
        now = sending(system, "dev-1"), sending(system, "prod-1")
        assert now == ordered, "not one order reached what sends packets"

        await system.verify()
        assert len(sending(system, "dev-1")) > len(ordered[0]), "and the coordinator is obeyed as before"
        assert system.refusals("dev-1") == attempts
    refused = [line["why"] for line in system.log("dev-1") if line["event"] == "refused"]
    assert len(refused) == attempts, "each attempt is in the agent's own log, too"


@pytest.mark.asyncio
async def test_nothing_of_before_is_obeyed_after_a_restart_with_all_state_lost(tmp_path: Path) -> None:
    system = System(tmp_path)
    async with system.running("prod-1"):
        async with system.agent("dev-1"):
            await until(lambda: system.daemon.estate.agents["dev-1"].online)
            await system.verify()
        yesterday = system.broker.down_to("dev-1")
        ordered = system.orders("dev-1")
        assert any(o["type"] == "go" for o in ordered)
        for file in (tmp_path / "dev-1").glob("spool.sqlite*"):
            file.unlink()
        await until(lambda: not system.daemon.estate.agents["dev-1"].online)
        async with system.agent("dev-1"):
            await until(lambda: system.daemon.estate.agents["dev-1"].online)
            for topic, payload in yesterday:
                system.broker.inject(topic, payload)
            await until(lambda: system.refusals("dev-1") == orders_of(yesterday))
            assert system.orders("dev-1") == ordered
            await system.verify()
            assert len(system.orders("dev-1")) > len(ordered)
            assert system.refusals("dev-1") == orders_of(yesterday)


@pytest.mark.asyncio
async def test_a_go_that_is_held_back_for_too_long_or_overtaken_is_refused(tmp_path: Path) -> None:
    system = System(tmp_path)
    async with system.running("prod-1"), system.agent("dev-1", "leap"):
        await until(lambda: system.daemon.estate.agents["dev-1"].online)
        system.broker.holds = is_go(system)
        run = system.daemon.runs.ask(sweep=False, source="dev", destination="prod")
        await until(lambda: system.broker.held)
        (tmp_path / "dev-1" / "leap").touch()
        for topic, payload in system.broker.held:
            system.broker.inject(topic, payload)
        await until(lambda: system.refusals("dev-1") == len(system.broker.held))
        assert await system.daemon.runs.end(run)
        await until(lambda: system.stops("dev-1"))
        assert not [o for o in system.orders("dev-1") if o["type"] == "go"]

        def finished() -> bool:
            asked = system.daemon.runs.get(run)
            return asked is not None and asked.state == "finished"

        await until(finished)
        count, system.broker.held = system.refusals("dev-1"), []
        run = system.daemon.runs.ask(sweep=False, source="dev", destination="prod")
        await until(lambda: system.broker.held)
        assert await system.daemon.runs.end(run), "a stop, which the broker lets pass the go before it"
        await until(lambda: system.stops("dev-1") > 1)
        for topic, payload in system.broker.held:
            system.broker.inject(topic, payload)
        await until(lambda: system.refusals("dev-1") > count)
        assert "overtaken by a newer one" in " ".join(system.daemon.estate.agents["dev-1"].refused)
        assert not [o for o in system.orders("dev-1") if o["type"] == "go"]
        await until(finished)


def stored(system: System) -> list[tuple[str, str, str, int]]:
    """How often each report is in the coordinator's store."""
    with sqlite3.connect(system.directory / "state" / "store.sqlite") as db:
        found = db.execute("SELECT round, agent, kind, COUNT(*) FROM reports GROUP BY 1, 2, 3").fetchall()
    db.close()
    return found


@pytest.mark.asyncio
async def test_what_agents_say_is_neither_forged_nor_lost_nor_counted_twice(tmp_path: Path) -> None:
    system = System(tmp_path)
    refusals = system.daemon._receiver.refusals
    async with system.running("dev-1", "prod-1"):
        system.broker.drops = lambda topic, _: topic.endswith("/down/ack")
        await system.verify()
        batches = [(t, p) for t, p in system.broker.seen if t.endswith("/up/observations")]
        kept = stored(system)
        assert {agent for _, agent, _, _ in kept} == {"dev-1", "prod-1"}
        assert {count for *_, count in kept} == {1}

        for topic, payload in (*reversed(batches), *batches):  # twice, and in the wrong order
            system.broker.inject(topic, payload)
        mine = [payload for topic, payload in batches if "/dev-1/" in topic]
        theirs = [payload for topic, payload in batches if "/prod-1/" in topic]
        made_up = pack_up(Batch(spool="0" * 16, sequence=1, age_s=0.0))
        lies = {
            f"{UP}/observations": [
                mine[0][:-1] + bytes([mine[0][-1] ^ 1]),
                theirs[0],
                made_up,
                sign_up(ATTACKERS, made_up),
            ],
            f"{UP}/round": [sign_up(ATTACKERS, pack_up(Done(round=kept[0][0], agent="dev-1", sequence=1)))],
            f"{UP}/status": [
                sign_up(ATTACKERS, pack_up(Status(name="dev-1", environment="dev", online=True, challenge=b"mine"))),
                next(p for t, p in system.broker.seen if t.endswith("/prod-1/up/status")),
                b"",
            ],
            "segwatch/v1/dev/dev-9/up/status": [mine[0]],
            "segwatch/v1/prod/dev-1/up/observations": [mine[0]],
        }
        for topic, payloads in lies.items():
            for payload in payloads:
                system.broker.inject(topic, payload)
        await until(lambda: refusals.count == sum(map(len, lies.values())))
        shown = system.daemon.status().refused
        assert shown.count == refusals.count
        assert any("signed by a key other than that of 'dev-1'" in why for why in shown.newest)
        assert stored(system) == kept, "no lie is in the store, and nothing is there twice"
        assert system.daemon.estate.agents["dev-1"].challenge != b"mine"

        assert (spooled(system, "dev-1"), spooled(system, "prod-1")) == (numbers(mine), numbers(theirs)), (
            "what was not acknowledged is kept"
        )
        system.broker.drops = lambda _topic, _payload: False
        await system.verify()
        await until(lambda: all(spooled(system, name) == 0 for name in ("dev-1", "prod-1")))
        assert {count for *_, count in stored(system)} == {1}
        assert len(stored(system)) > len(kept)


def spooled(system: System, name: str) -> int:
    db = sqlite3.connect(system.directory / name / "spool.sqlite")
    try:
        return int(db.execute("SELECT COUNT(*) FROM batch").fetchone()[0])
    finally:
        db.close()
