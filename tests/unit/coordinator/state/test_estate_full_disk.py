"""What the coordinator does while its store cannot be written, and after."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from coordinator.messaging.sender import Sender
from coordinator.rounds.brake import Brake
from coordinator.rounds.scheduler import Scheduler
from coordinator.store import StoreError
from reachability.compare import key_of
from reachability.ports import PortSet
from reachability.vocabulary import Schedule, State
from tests.support.coordinator import NOW, Coordinator, batch
from tests.support.sample import evidence, judged
from tests.support.virtual import run
from wire.messages import Ack, Status
from wire.mqtt import Link
from wire.topics import UpChannel, UpTopic


def test_nothing_is_acknowledged_that_a_full_disk_did_not_take(world: Coordinator) -> None:
    assert world.hear(batch(1)) == [1]
    with world.full_disk():
        assert world.hear(batch(2), batch(3)) == []
        assert "the store cannot be written" in world.estate.problem
    assert world.hear(batch(3), batch(2)) == [3]
    run(world.estate.forget())
    assert world.estate.problem == "", "the next write that succeeds says so"


def test_what_was_concluded_while_the_disk_was_full_is_written_when_it_is_not(
    world: Coordinator, tmp_path: Path
) -> None:
    estate = world.estate
    target = next(t for t in estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    key = key_of(target)
    opened = judged(evidence(target, State.OPEN), "R1", run="", at=NOW)
    with world.full_disk():
        estate.matrix.update(key, PortSet.of([22]), opened)
        estate._unsaved[key] = None
        [event] = run(estate.review())
        assert event.what == "opened"
        assert run(estate.review()) == ()
        assert "cannot be written" in estate.problem
        with pytest.raises(StoreError, match="cannot be written"):
            run(estate.acknowledge(event.finding, "ada", "looking"))
    assert (world.store.cells(), world.store.findings(), world.store.events()) == ([], [], [])
    run(estate.review())
    assert estate.problem == ""
    assert [(k, str(ports)) for k, ports, _ in world.store.cells()] == [(key, "22")]
    assert [finding.id for finding in world.store.findings()] == [event.finding]
    assert [each.what for each in world.store.events()] == ["opened", "acknowledged"]


def test_no_round_begins_without_a_record_of_it_and_the_schedule_goes_on(world: Coordinator) -> None:
    estate = world.estate
    status = Status(name="dev-1", environment="dev", online=True, raw=True, addresses=("10.10.0.10",), rate_pps=1000)
    estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)
    scheduler = Scheduler(estate, world.engine.cycle, held=lambda: "")
    with world.full_disk():
        world.runner.run(scheduler._one("dev-1", Schedule.CYCLE))
    assert "cannot be written" in estate.problem


def test_a_sequence_is_given_out_only_when_the_disk_knows(world: Coordinator) -> None:
    sent: list[str] = []

    class Away(Link):
        def __init__(self) -> None: ...

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            sent.append(topic)

    sender = Sender(Away(), SigningKey.generate(), world.store, lambda _: "dev", lambda _: b"", lambda: NOW)
    with world.full_disk():
        world.runner.run(sender("dev-1", Ack(spool="s", sequence=1)))
        world.runner.run(sender("dev-1", Ack(spool="s", sequence=1)))
    assert sent == []
    world.runner.run(sender("dev-1", Ack(spool="s", sequence=1)))
    assert len(sent) == 1
    assert world.store.get("sequence", int, 0) >= int(NOW * 1000)


def test_a_stop_reaches_everybody_on_a_full_disk_and_says_what_a_restart_would_do(world: Coordinator) -> None:
    status = Status(name="dev-1", environment="dev", online=True, raw=True)
    world.estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)
    sent: list[str] = []

    class Away(Link):
        def __init__(self) -> None: ...

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            sent.append(topic)

    sender = Sender(Away(), SigningKey.generate(), world.store, lambda _: "dev", lambda _: b"", lambda: NOW)
    brake = Brake(world.estate, sender)
    with world.full_disk():
        with pytest.raises(StoreError, match="all probing is stopped, but a restart would begin it again: .*written"):
            world.runner.run(brake.stop("enough", "olga"))
        assert (len(sent), brake.stopped) == (1, "enough")
        with pytest.raises(StoreError):
            run(brake.resume("olga"))
        assert brake.stopped == "enough"
    assert Brake(world.estate, sender).stopped == ""
    world.runner.run(brake.stop("enough", "olga"))
    assert Brake(world.estate, sender).stopped == "enough"


def test_a_revocation_and_a_renewal_on_a_full_disk_hold_and_are_written_later(world: Coordinator) -> None:
    estate = world.estate
    with world.full_disk():
        assert [event.what for event in estate.revoke({"dev-1": 100})] == ["revoked"]
        assert [event.what for event in estate.renewed("prod-1", datetime.fromtimestamp(NOW, UTC))] == ["renewed"]
        assert estate.generations == {"dev-1": 100}
        assert (estate.agents["dev-1"].state, world.store.events()) == ("revoked", [])
    run(estate.review())
    assert [(event.agent, event.what) for event in world.store.events()] == [
        ("dev-1", "revoked"),
        ("prod-1", "renewed"),
    ]
