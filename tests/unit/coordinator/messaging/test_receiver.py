"""What is taken of agents, in which order; what is refused is counted, by agent and cause."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coordinator.messaging.causes import Cause, NotTheirs, cause_of
from coordinator.messaging.reading import LIGHT_BYTES, is_light
from coordinator.messaging.receiver import READS, Receiver
from coordinator.messaging.signers import NotBelieved
from coordinator.topology.load import parse_topology
from tests.support.coordinator import TOPOLOGY, Coordinator
from tests.support.waiting import HANG_S
from wire.envelope import AnyUp, BadMessage, OtherVersion, pack_up, unpack_up
from wire.messages import Armed, Done
from wire.mqtt import Message
from wire.signing import Refused
from wire.topics import UpChannel, up

LONG = "x" * LIGHT_BYTES


class Messages:
    """A link that has these, then none for ever."""

    def __init__(self, *messages: tuple[str, AnyUp]) -> None:
        self._messages = messages

    async def messages(self) -> Any:
        for agent, body in self._messages:
            topic = up(agent.partition("-")[0], agent, UpChannel.ROUND)
            yield Message(topic, pack_up(body), retained=False, done=lambda: None)
        await asyncio.Event().wait()


def armed(agent: str, number: int, problem: str = "") -> tuple[str, Armed]:
    return agent, Armed(round=str(number), agent=agent, ok=True, problems=(problem,))


def test_what_is_large_or_compressed_is_not_read_on_the_loop() -> None:
    assert is_light(pack_up(Done(round="r", agent="dev-1", sequence=1)))
    assert not is_light(pack_up(armed("dev-1", 1, LONG)[1])), "compressed: it may be of any size"
    assert is_light(bytes(LIGHT_BYTES))
    assert not is_light(bytes(LIGHT_BYTES + 1))


def test_a_message_that_takes_long_holds_up_its_agents_own_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread reads it for as long as the loop takes the messages of another: on the loop it would do so for ever."""
    go_on, taken = threading.Event(), []
    main = threading.current_thread()

    def slow(sealed: bytes) -> AnyUp:
        if threading.current_thread() is not main:
            assert go_on.wait(HANG_S)
        return unpack_up(sealed)

    async def scene() -> None:
        world = Coordinator(tmp_path)
        world.receiver._signers = SimpleNamespace(open=lambda _, payload: reading.read(payload))  # type: ignore[assignment]
        all_in = asyncio.Event()

        def answer(agent: str, message: Armed) -> None:
            taken.append((agent, message.round))
            if taken[-1] == ("prod-1", "2"):
                go_on.set()
            if len(taken) == 4:
                all_in.set()

        monkeypatch.setattr(world.engine, "answer", answer)
        messages = (armed("dev-1", 1, LONG), armed("dev-1", 2), armed("prod-1", 1), armed("prod-1", 2))
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(world.receiver.run(cast("Any", Messages(*messages))), name="collect")
            await all_in.wait()
            task.cancel()
        world.runner.close()
        world.store.close()

    from coordinator.messaging import reading  # noqa: PLC0415 - beside what is patched of it

    monkeypatch.setattr(reading, "unpack_up", slow)
    asyncio.run(scene())
    assert taken == [("prod-1", "1"), ("prod-1", "2"), ("dev-1", "1"), ("dev-1", "2")]


def test_one_heavy_message_is_taken_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that compute side by side would take the loop its turns."""
    at_once: list[int] = []
    under_way: list[str] = []

    async def scene() -> None:
        world = Coordinator(tmp_path)
        all_in = asyncio.Event()

        async def take(message: Message) -> None:
            under_way.append(message.topic)
            for _ in range(3 * READS):  # another would have begun meanwhile
                await asyncio.sleep(0)
            at_once.append(len(under_way))
            under_way.remove(message.topic)
            if len(at_once) == 3:
                all_in.set()

        monkeypatch.setattr(world.receiver, "take", take)
        messages = (armed("dev-1", 1, LONG), armed("prod-1", 1, LONG), armed("prod-1", 2, LONG))
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(world.receiver.run(cast("Any", Messages(*messages))), name="collect")
            await all_in.wait()
            task.cancel()
        world.runner.close()
        world.store.close()

    asyncio.run(scene())
    assert at_once == [1, 1, 1]


def test_one_that_a_reload_takes_out_while_its_words_are_read_is_refused(tmp_path: Path) -> None:
    world = Coordinator(tmp_path)
    topic, body = armed("dev-1", 1)
    answered: list[AnyUp] = []

    async def reading(*_: object) -> AnyUp:
        world.estate.take_topology(parse_topology(TOPOLOGY.replace("dev-1", "dev-2").encode()))
        return body

    world.receiver._signers = SimpleNamespace(open=reading)  # type: ignore[assignment]
    world.engine.answer = lambda _, message: answered.append(message)  # type: ignore[method-assign,assignment]
    message = Message(up("dev", topic, UpChannel.ROUND), pack_up(body), retained=False, done=lambda: None)
    with pytest.raises(NotTheirs):
        world.runner.run(world.receiver.take(message))
    assert answered == []
    world.runner.close()
    world.store.close()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NotTheirs("x"), Cause.SENDER),
        (OtherVersion("x"), Cause.VERSION),
        (NotBelieved("x"), Cause.SIGNATURE),
        (Refused("x"), Cause.SIGNATURE),
        (BadMessage("x"), Cause.CONTENT),
        (ZeroDivisionError("x"), Cause.FAULT),
    ],
)
def test_every_refusal_has_a_cause(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_refusals_are_counted_for_good_by_agent_and_cause_and_those_of_nobody_together(tmp_path: Path) -> None:
    world = Coordinator(tmp_path)
    receiver: Receiver = world.receiver
    foreign = pack_up(Done(round="r", agent="prod-1", sequence=1))
    topics = {name: f"segwatch/v1/dev/{name}/up/round" for name in ("dev-1", "who-1", "who-2")}

    async def send(topic: str, payload: bytes, times: int = 1) -> None:
        for _ in range(times):
            await receiver._try(Message(topic, payload, retained=False, done=lambda: None))

    world.runner.run(send(topics["dev-1"], foreign, 300))
    world.runner.run(send(topics["dev-1"], b"\x01\x00nonsense", 2))
    world.runner.run(send(topics["dev-1"], b"\x07\x00nonsense"))
    world.runner.run(send(topics["who-1"], foreign))
    world.runner.run(send(topics["who-2"], foreign))
    world.runner.run(send("what is this", foreign))
    assert receiver.refused == {
        ("dev-1", "sender"): 300, ("dev-1", "content"): 2, ("dev-1", "version"): 1, ("", "sender"): 3
    }  # fmt: skip
    assert receiver.refusals.count == 306
    world.runner.close()
    world.store.close()
