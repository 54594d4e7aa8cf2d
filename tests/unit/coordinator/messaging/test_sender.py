"""What is sent while the store is being written: nothing waits for a disk, and a stop needs none."""

from __future__ import annotations

import asyncio
import threading

from nacl.signing import SigningKey

from coordinator.messaging.sender import RESERVE, Sender
from coordinator.store import Store
from tests.support.coordinator import NOW
from tests.support.waiting import HANG_S
from wire.messages import Ack, Stop
from wire.mqtt import Link

ACK = Ack(spool="s", sequence=1)


class Away(Link):
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.sent.append(topic.rpartition("/")[2])


def test_while_a_commit_hangs_a_stop_is_sent_and_whatever_has_a_sequence_reserved(store: Store) -> None:
    link, begun, go_on = Away(), threading.Event(), threading.Event()
    now = [NOW]
    sender = Sender(link, SigningKey.generate(), store, lambda _: "dev", lambda _: b"", lambda: now[0])

    def hangs() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        await sender.reserve()
        assert store.get("sequence", int, 0) >= NOW * 1000 + RESERVE
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(store.beside(hangs), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            await sender("dev-1", ACK)
            assert len(link.sent) == 1
            now[0] += 2 * RESERVE / 1000
            await sender("dev-1", ACK)
            assert len(link.sent) == 1, "what might come again after a restart is not sent"
            await sender("dev-1", Stop(reason="enough"))
            assert len(link.sent) == 2
            go_on.set()
        await sender("dev-1", ACK)
        assert len(link.sent) == 3

    asyncio.run(scene())


def test_a_reserve_that_had_to_wait_takes_none_back_that_was_made_meanwhile(store: Store) -> None:
    link, begun, go_on = Away(), threading.Event(), threading.Event()
    now = [NOW]
    sender = Sender(link, SigningKey.generate(), store, lambda _: "dev", lambda _: b"", lambda: now[0])

    def hangs() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(store.beside(hangs), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            group.create_task(sender.reserve(), name="reserve")
            await asyncio.sleep(0)
            now[0] += 2 * RESERVE / 1000
            go_on.set()
            while store.writer.busy:  # noqa: ASYNC110 - at the very turn of the loop at which it is not
                await asyncio.sleep(0)
            await sender("dev-1", ACK)

    asyncio.run(scene())
    assert len(link.sent) == 1
    assert store.get("sequence", int, 0) > sender.newest, "what was used is not used again after a restart"
