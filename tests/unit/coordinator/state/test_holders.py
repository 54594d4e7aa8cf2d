"""One identity, one process: a restart is one, a copied bundle is two."""

from __future__ import annotations

from typing import Any

from coordinator.state.estate import Estate
from coordinator.state.holders import KEEP_S, MOST, SETTLED_S, Holders
from reachability.compare import key_of
from reachability.matrix import CellKey, Judged
from reachability.ports import PortSet
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import Arrival, Protocol, Reachability, State
from tests.support.coordinator import Coordinator
from tests.support.virtual import run
from wire.messages import Status
from wire.topics import UpChannel, UpTopic


def status(instance: str, number: int = 1, *, online: bool = True, agent: str = "dev-1", **more: Any) -> Status:
    environment = agent.partition("-")[0]
    return Status(
        name=agent, environment=environment, online=online, instance=instance, number=number, raw=True, **more
    )


class Desk:
    """The holders of one name, and the time."""

    def __init__(self, *two: str) -> None:
        self.now = 0.0
        self.holders = Holders(lambda: self.now, two)

    def hear(self, *said: Status, every_s: float = 1.0) -> tuple[bool, bool]:
        """Whether it is known how many there are, and whether there are two."""
        for one in said:
            self.now += every_s
            self.holders.heard("dev-1", one)
        return self.holders.is_settled("dev-1"), "dev-1" in self.holders.two()


ONE, TWO = (True, False), (True, True)
NOT_YET = (False, False)


def test_a_process_is_one_however_often_it_connects() -> None:
    desk = Desk()
    assert desk.hear(status("a", 1), status("a", 2), status("a", 2), status("a", 3)) == ONE
    assert desk.hear(status("a", 4, online=False), status("a", 5)) == ONE, "its link was cut, and it is back"


def test_a_restart_is_one() -> None:
    assert Desk().hear(status("a", 7), status("a", 8, online=False), status("b", 1), status("b", 2)) == ONE


def test_a_restart_without_a_word_is_settled_by_the_last_will_or_by_the_time() -> None:
    desk = Desk()
    assert desk.hear(status("a", 7), status("b", 1)) == NOT_YET
    assert desk.hear(status("a", 7, online=False)) == ONE
    desk = Desk()
    desk.hear(status("a", 7), status("b", 1))
    desk.now += SETTLED_S - 1
    assert desk.hear(every_s=0) == NOT_YET
    desk.now += 1
    assert desk.hear() == ONE
    assert desk.hear(status("b", 2)) == ONE


def test_who_is_heard_of_again_after_another_was_makes_two() -> None:
    desk = Desk()
    assert desk.hear(status("a", 7), status("b", 1)) == NOT_YET
    assert desk.hear(status("a", 8)) == TWO
    desk.now += KEEP_S - 2
    assert desk.hear(status("a", 9)) == TWO
    desk.now += 2
    assert desk.hear(status("a", 10)) == ONE, "the other has gone for minutes"
    assert desk.hear(status("b", 40)) == NOT_YET, "or had not"
    assert desk.hear(status("a", 11)) == TWO


def test_what_a_broker_delivers_again_makes_nobody_alive() -> None:
    assert Desk().hear(status("a", 7), status("b", 1), status("a", 7)) == NOT_YET
    desk = Desk()
    desk.hear(status("a", 7), status("b", 1), status("a", 7))
    desk.now += SETTLED_S
    assert desk.hear(status("b", 2)) == ONE
    desk = Desk()
    assert (
        desk.hear(status("a", 7), status("a", 1, online=False), status("b", 1), status("a", 7), status("b", 2)) == ONE
    )


def test_two_whose_links_come_and_go_are_two() -> None:
    """Each has its last will said, and is back."""
    desk = Desk()
    assert desk.hear(status("a", 7), status("a", 8, online=False), status("b", 1), status("a", 9)) == NOT_YET
    assert desk.hear(status("b", 2)) == TWO


def test_a_version_that_does_not_say_who_it_is_is_one() -> None:
    assert Desk().hear(status(""), status(""), status("", online=False)) == ONE


def test_what_is_remembered_of_a_name_is_bounded() -> None:
    desk = Desk()
    desk.hear(*(status(f"i{n}") for n in range(100)))
    assert len(desk.holders._names["dev-1"].seen) == MOST
    desk.hear(*(status(f"j{n}", online=False) for n in range(100)))
    assert len(desk.holders._names["dev-1"].ended) <= MOST


def test_a_new_certificate_is_a_new_beginning() -> None:
    desk = Desk()
    desk.hear(status("a", 7), status("b", 1), status("a", 8))
    desk.holders.forget("dev-1")
    desk.holders.forget("nobody")
    assert desk.hear(status("c", 1)) == ONE


def test_two_that_were_known_before_a_restart_of_the_coordinator_are_two_for_a_while() -> None:
    desk = Desk("dev-1")
    assert desk.hear(status("a", 7)) == TWO
    desk.now += KEEP_S
    assert desk.hear() == ONE


# -- in the estate ------------------------------------------------------------------------------------------------


def take(estate: Estate, *said: Status, retained: bool = False) -> None:
    for one in said:
        heard = estate.take_status(UpTopic(one.environment, one.name, UpChannel.STATUS), one, retained=retained)
        assert not heard.problem


def test_nobody_is_asked_until_it_is_known_whether_it_is_one(world: Coordinator) -> None:
    estate = world.estate
    take(estate, status("a", 7))
    assert (estate.online("dev-1"), estate.present()["dev-1"].online) == (True, True)
    take(estate, status("b", 1))
    assert (estate.online("dev-1"), estate.present()["dev-1"].online) == (False, False)
    assert estate.agents["dev-1"].online, "it is connected all the same"
    take(estate, status("a", 8))
    assert estate.online("dev-1"), "what it is asked then says that there are two"
    assert estate.agents["dev-1"].two_holders


def test_who_is_revoked_is_not_two_any_more(world: Coordinator) -> None:
    take(world.estate, status("a", 7), status("b", 1), status("a", 8))
    world.estate.revoke({"dev-1": 1})
    take(world.estate, status("c", 1, generation=1))
    assert world.estate.online("dev-1")
    assert not world.estate.agents["dev-1"].two_holders


def test_what_a_broker_kept_is_no_sign_of_life(world: Coordinator) -> None:
    take(world.estate, status("a", 7))
    take(world.estate, status("b", 1))
    take(world.estate, status("a", 8), retained=True)
    assert not world.estate.holders.two()


def test_a_new_process_is_told_the_plan(world: Coordinator) -> None:
    topic = UpTopic("dev", "dev-1", UpChannel.STATUS)
    told = [
        world.estate.take_status(topic, one, retained=False).changed
        for one in (status("a"), status("a", 2), status("b"))
    ]
    assert told == [True, False, True]


def row(agent: str, address: str, **evidence: Any) -> tuple[CellKey, PortSet, Judged]:
    key = CellKey(agent=agent, source_address="", destination="prod", address=address, protocol=Protocol.TCP)
    seen = Evidence(protocol=Protocol.TCP, state=State.FILTERED, sent=4, covered=4, control=True, **evidence)
    return key, PortSet.parse("22"), Judged(evidence=seen, verdict=judge(seen), round="R1")


def found(estate: Estate, key: CellKey) -> Verdict:
    ((_, judged),) = estate.matrix.rows(key)
    return judged.verdict


def test_what_stands_of_its_cells_is_proven_no_more(world: Coordinator) -> None:
    estate = world.estate
    take(estate, status("a", 7, addresses=("10.10.0.10",)), status("w", agent="prod-1", addresses=("10.30.0.10",)))
    mine = [
        key_of(t) for t in estate.plan if t.agent == "dev-1" and t.witness == "prod-1" and t.protocol is Protocol.TCP
    ][:1]
    assert mine
    _, ports, witnessed = row("dev-1", mine[0].address, arrival=Arrival.NOT_SEEN)
    for key, judged in ((mine[0], witnessed),):
        estate.matrix.update(key, ports, judged)
    assert found(estate, mine[0]).reachability is Reachability.BLOCKED
    take(estate, status("x", agent="prod-1"), status("w", 2, agent="prod-1"))
    verdict = found(estate, mine[0])
    assert (verdict.reachability, verdict.reason) == (Reachability.UNKNOWN, "two-holders"), (
        "of its witness there are two"
    )
    again = Estate(estate.topology, world.store, lambda: world.now)
    assert again.holders.two() == {"prod-1"}, "a restart does not forget it"


def test_a_restart_right_after_proves_nothing_of_it_again(world: Coordinator) -> None:
    key, ports, judged = row("dev-1", "10.30.0.10", arrival=Arrival.NOT_SEEN)
    world.store.put_cells([(key, [(ports, judged)])])
    world.restart()
    assert found(world.estate, key).reachability is Reachability.BLOCKED
    take(world.estate, status("a", 7), status("b", 1), status("a", 8))
    world.restart()
    verdict = found(world.estate, key)
    assert (verdict.reachability, verdict.reason) == (Reachability.UNKNOWN, "two-holders")


def test_what_is_over_does_not_come_back_with_a_restart(world: Coordinator) -> None:
    steady = [0.0]
    estate = Estate(world.estate.topology, world.store, lambda: world.now, lambda: steady[0])
    take(estate, status("a", 7), status("b", 1), status("a", 8))
    assert world.store.get("two_holders", list[str], []) == ["dev-1"]
    steady[0] += KEEP_S
    take(estate, status("a", 9))
    assert world.store.get("two_holders", list[str], []) == []


def test_only_cells_that_lean_on_it_are_touched(world: Coordinator) -> None:
    estate = world.estate
    leaning = row("test-1", "10.30.0.21", inside=State.CLOSED, inside_by="dev-1")
    beside = row("test-1", "10.30.0.22", inside=State.CLOSED, inside_by="prod-9")
    own = row("dev-1", "10.30.0.23", inside=State.CLOSED, inside_by="prod-9")
    for one in (leaning, beside, own):
        estate.matrix.update(*one)
    assert {found(estate, key).row for key, _, _ in (leaning, beside, own)} == {16}
    take(estate, status("a", 7), status("b", 1), status("a", 8))
    assert [found(estate, key).row for key, _, _ in (leaning, beside, own)] == [18, 16, 18]
    stored = {key: judged.verdict.row for key, _, judged in _reviewed(world)}
    assert stored[own[0]] == 18


def _reviewed(world: Coordinator) -> list[tuple[CellKey, PortSet, Judged]]:
    run(world.estate.review())
    return world.store.cells()
