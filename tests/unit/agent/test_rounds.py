"""How an agent's rounds begin, report and end."""

import msgspec

from agent.rounds import SOURCE_S
from probes.child.protocol import ChildArmed, Halted, SourceDone, WitnessDone
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from reachability.vocabulary import Reason, Role
from tests.support.desk import REPORT, Desk, arm, go, target
from wire.messages import Armed, Close, Done, Stop


def test_a_source_reports_then_is_done() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == [go(target(1))]
    assert desk.child.busy
    desk.rounds.heard(SourceDone(report=REPORT, tail_s=1.5))
    assert desk.spooled == [REPORT]
    assert desk.answers == [Done(round="r", agent="dev-1", sequence=1, tail_s=1.5)]
    assert not desk.child.busy


def test_nothing_is_probed_in_a_blackout_but_a_witness_listens() -> None:
    desk = Desk(not_now="a blackout")
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == []
    assert desk.source_report().observations[0].note == "a blackout"
    desk = Desk(not_now="a blackout")
    desk.rounds.obey(arm([target(1)], inside=[target(2)]))
    assert desk.child.told == [arm([target(1)])]
    assert desk.source_report().role == "inside"


def test_a_blackout_that_begins_ends_a_sweep_but_no_witness() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)]))
    desk.not_now = "a blackout"
    desk.rounds.expire()
    assert len(desk.rounds) == 1
    desk.not_now = ""
    desk.rounds.obey(go(target(1)))
    desk.rounds.expire()
    assert not desk.answers
    desk.not_now = "a blackout"
    desk.rounds.expire()
    assert desk.child.told[-1] == Stop(reason="a blackout")
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert done.problems == ("stopped: a blackout",)
    assert desk.refused == ["a blackout"]


def test_a_child_that_stops_sending_by_itself_ends_the_round_as_a_blackout_does() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    desk.rounds.heard(Halted(why="a blackout"))
    assert desk.child.told[-1] == Stop(reason="a blackout")
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.problems) == (False, ("stopped: a blackout",))
    assert desk.source_report().observations == ()
    assert desk.refused == ["a blackout"]
    assert not desk.child.busy


def test_a_blackout_that_begins_ends_a_control_from_inside_while_it_sends() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2)]))
    desk.not_now = "a blackout"
    desk.rounds.expire()
    assert desk.child.told[-1] == Stop(reason="a blackout")

    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2)]))
    desk.rounds.heard(SourceDone(report=SourceReport(round="r", agent="dev-1", role=Role.INSIDE)))
    desk.not_now = "a blackout"
    desk.rounds.expire()
    assert len(desk.rounds) == 1, "it has asked, and listens"
    desk.rounds.obey(Close(round="r", again=True))
    assert desk.child.told[-1] == Close(round="r"), "nor does it ask again"
    assert len(desk.rounds) == 0

    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2)]))
    desk.rounds.obey(Close(round="r", again=True))
    desk.not_now = "a blackout"
    desk.rounds.expire()
    assert desk.child.told[-1] == Stop(reason="a blackout")


def test_a_witness_arms_closes_and_reports() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2)]))
    desk.rounds.heard(ChildArmed(round="r", ok=True))
    assert desk.answers == [Armed(round="r", agent="dev-1", ok=True)]
    inside = SourceReport(round="r", agent="dev-1", role=Role.INSIDE)
    desk.rounds.heard(SourceDone(report=inside))
    assert desk.child.busy, "until it is closed"
    desk.rounds.obey(Close(round="r"))
    assert desk.child.told[-1] == Close(round="r")
    report = WitnessReport(round="r", agent="dev-1")
    desk.rounds.heard(WitnessDone(report=report))
    late = WitnessReport(round="r", agent="dev-1", late=True)
    desk.rounds.heard(WitnessDone(report=late))
    assert desk.spooled == [inside, report, late]
    assert len(desk.answers) == 1
    assert not desk.child.busy


def test_a_stop_ends_all_and_answers_for_the_source() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    desk.rounds.obey(Stop(reason="maintenance"))
    assert desk.child.told[-1] == Stop(reason="maintenance")
    assert desk.child.killed_after is not None
    assert desk.child.killed_after < 1
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.problems) == (False, ("stopped: maintenance",))
    desk.rounds.heard(SourceDone(report=REPORT))
    (report,) = desk.spooled
    assert report.problems == ("stopped: maintenance",)
    assert isinstance(report, SourceReport)
    assert report.observations == (), "it tried nothing: not run, rather than an error"


def test_a_child_that_dies_is_an_error_at_every_target_and_no_healthy_witness() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1), target(2)))
    desk.rounds.child_died("it crashed")
    assert [o.reason for o in desk.source_report().observations] == [Reason.LOCAL_ERROR] * 2
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.problems, done.sequence) == (False, ("it crashed",), 1)
    desk = Desk()
    desk.rounds.obey(arm([target(1), target(2), target(3, "10.30.0.22")]))
    desk.rounds.child_died("it crashed")
    assert desk.answers == [Armed(round="r", agent="dev-1", ok=False, problems=("it crashed",))]
    desk.rounds.obey(Close(round="r"))
    (report,) = desk.spooled
    assert isinstance(report, WitnessReport)
    assert [(h.address, h.healthy, h.why) for h in report.health] == [
        ("10.30.0.21", False, "it crashed"),
        ("10.30.0.22", False, "it crashed"),
    ]


def test_closing_an_unknown_round_and_arming_for_nothing() -> None:
    desk = Desk()
    desk.rounds.obey(Close(round="?"))
    desk.rounds.obey(arm(inside=[target(1, "1.1.1.1")]))
    assert desk.child.told == []
    (armed,) = desk.answers
    assert isinstance(armed, Armed)
    assert not armed.ok


def test_rounds_that_nobody_closes_are_forgotten() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)]))
    desk.now = 599
    desk.rounds.expire()
    assert desk.child.busy
    desk.now = 601
    desk.rounds.expire()
    assert not desk.child.busy
    desk.rounds.obey(go(target(1)))
    desk.now += SOURCE_S - 1
    desk.rounds.expire()
    assert len(desk.rounds) == 1


def test_an_inside_control_is_asked_again_only_when_the_source_is_done_and_needs_the_child_until_then() -> None:
    desk = Desk()
    for again in (False, True):
        desk.rounds.obey(arm(inside=[target(1)]))
        desk.rounds.obey(Close(round="r", again=again))
        assert desk.child.told[-1] == Close(round="r", again=again)
        assert desk.child.busy is again
    desk.rounds.heard(SourceDone(report=SourceReport(round="r", agent="dev-1", role=Role.INSIDE)))
    assert desk.child.busy, "that was what it got first"
    desk.rounds.heard(SourceDone(report=SourceReport(round="r", agent="dev-1", role=Role.INSIDE, again=True)))
    assert not desk.child.busy


def test_asking_again_is_not_waited_for_for_ever_and_ends_with_the_child() -> None:
    def time_passes(desk: Desk) -> None:
        desk.now = 301.0

    def dies(desk: Desk) -> None:
        desk.rounds.child_died("killed")

    def stops(desk: Desk) -> None:
        desk.rounds.obey(Stop())

    for ends in (time_passes, dies, stops):
        desk = Desk()
        desk.rounds.obey(arm(inside=[target(1)]))
        desk.rounds.obey(Close(round="r", again=True))
        assert len(desk.rounds) == 1
        ends(desk)
        desk.rounds.expire()
        assert len(desk.rounds) == 0
        assert not desk.child.busy


def test_a_witness_alone_asks_nobody_again() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)]))
    desk.rounds.obey(Close(round="r", again=True))
    assert len(desk.rounds) == 0


def test_all_that_it_says_tells_by_which_process() -> None:
    desk = Desk(instance="0a1b")
    desk.rounds.obey(arm([target(1)], inside=[target(2, "10.66.0.1")]))
    desk.rounds.heard(ChildArmed(round="r", ok=True))
    desk.rounds.obey(Close(round="r"))
    desk.rounds.heard(WitnessDone(report=WitnessReport(round="r", agent="dev-1")))
    desk.rounds.obey(go(target(1)))
    desk.rounds.heard(SourceDone(report=REPORT))
    desk.rounds.obey(msgspec.structs.replace(go(target(2, "10.66.0.1")), round="s"))
    assert [answer.instance for answer in desk.answers if isinstance(answer, Armed | Done)] == ["0a1b"] * 3
    assert [report.instance for report in desk.spooled] == ["0a1b"] * 4


def test_a_source_goes_once_however_often_it_is_told() -> None:
    """Its coordinator cannot know whether the order was lost with a connection; nor whether it is done since."""
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == [go(target(1))]
    desk.rounds.heard(SourceDone(report=REPORT, tail_s=1.5))
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == [go(target(1))]
    assert (len(desk.spooled), len(desk.answers), len(desk.rounds)) == (1, 1, 0)
