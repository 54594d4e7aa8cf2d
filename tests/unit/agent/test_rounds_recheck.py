"""An allow-list that changes while rounds are open: what it forbids ends at once, the rest goes on untouched."""

import pytest

from probes.child.protocol import SourceDone
from reachability.allow import AllowList
from reachability.observation import ControlTarget
from reachability.vocabulary import Protocol
from tests.support.desk import REPORT, Desk, arm, go, target
from wire.messages import Close, Done, Stop

CONTROL = ControlTarget(address="10.30.0.1", protocol=Protocol.TCP, port=8883)


@pytest.mark.parametrize(
    "allow",
    [
        AllowList.of(["10.30.0.0/24"], ["10.30.0.22"]),
        AllowList.of(["10.30.0.21", "10.30.0.1"]),
        AllowList.of(["10.30.0.0/24"], ["10.30.0.1"]),
    ],
    ids=["a target is denied", "a target is no longer allowed", "a control is denied"],
)
def test_a_round_that_touches_what_is_forbidden_now_ends(allow: AllowList) -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1), target(2, "10.30.0.22"), controls=[CONTROL]))
    desk.allow = allow
    desk.rounds.recheck()
    assert isinstance(desk.child.told[-1], Stop)
    assert desk.child.killed_after is not None
    (why,) = desk.refused
    assert why.startswith(("10.30.0.22 is in ", "10.30.0.1 is in "))
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.problems) == (False, (f"stopped: {why}",))
    assert desk.source_report().observations == (), "it is not run, which is neither blocked nor an error"
    assert not desk.rounds


def test_an_inside_control_that_is_forbidden_now_ends() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2, "10.30.0.22")]))
    desk.allow = AllowList.of(["10.30.0.0/24"], ["10.30.0.22"])
    desk.rounds.recheck()
    assert isinstance(desk.child.told[-1], Stop)


def test_an_inside_control_that_is_asked_again_is_under_way_too() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2, "10.30.0.22")]))
    desk.rounds.obey(Close(round="r", again=True))
    desk.allow = AllowList.of(["10.30.0.0/24"], ["10.30.0.22"])
    desk.rounds.recheck()
    assert isinstance(desk.child.told[-1], Stop)


def test_a_round_that_touches_nothing_of_it_goes_on() -> None:
    desk = Desk()
    elsewhere = ControlTarget(address="10.99.0.2", protocol=Protocol.TCP, port=8883)
    desk.rounds.obey(go(target(1), target(2, "10.99.0.1"), controls=[CONTROL, elsewhere]))
    told = list(desk.child.told)
    refused = list(desk.refused)
    desk.allow = AllowList.of(["10.30.0.21", "10.30.0.1"], ["10.30.0.99"])
    desk.rounds.recheck()
    assert desk.child.told == told, "not even told anything"
    assert desk.refused == refused, "what was left out already is not refused again"
    desk.rounds.heard(SourceDone(report=REPORT, tail_s=1.5))
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert done.tail_s == 1.5


def test_a_witness_sends_nothing_and_listens_on() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)]))
    desk.allow = AllowList.of(["10.99.0.0/24"])
    desk.rounds.recheck()
    desk.rounds.obey(Close(round="r"))
    assert desk.child.told == [arm([target(1)]), Close(round="r")]


def test_where_the_broker_is_goes_on_being_a_control() -> None:
    """The configuration names it, and the agent is connected there."""
    desk = Desk()
    desk.broker = ("203.0.113.5", 8883)
    desk.rounds.obey(go(target(1)))
    desk.rounds.recheck()
    assert len(desk.rounds) == 1


def test_a_blackout_that_covers_now_ends_a_round() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    desk.not_now = "a blackout"
    desk.rounds.recheck()
    assert desk.child.told[-1] == Stop(reason="a blackout")
