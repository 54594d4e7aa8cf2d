from collections.abc import Sequence

from agent.allow import AllowList
from agent.rounds import SOURCE_S, Rounds
from probes.childwire import ChildArmed, SourceDone, ToChild, WitnessDone
from reachability.observation import ControlTarget, Observation, SourceReport, Target, WitnessReport
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from wire.messages import Arm, Armed, Close, Done, Go, Stop, Up


class Child:
    def __init__(self) -> None:
        self.told: list[ToChild] = []
        self.busy = False
        self.killed_after: float | None = None

    def tell(self, order: ToChild) -> None:
        self.told.append(order)

    def set_busy(self, busy: bool) -> None:
        self.busy = busy

    def stop_within(self, seconds: float) -> None:
        self.killed_after = seconds


class Desk:
    """The rounds of `dev-1`, which may touch 10.30.0.0/24, and all that they did."""

    def __init__(self, not_now: str = "") -> None:
        self.child = Child()
        self.spooled: list[SourceReport | WitnessReport] = []
        self.answers: list[Up] = []
        self.refused: list[str] = []
        self.now = 0.0
        allow = AllowList.of(["10.30.0.0/24"])
        self.rounds = Rounds(
            "dev-1",
            lambda: (allow, not_now),
            self.child,
            spool=self._spool,
            answer=self.answers.append,
            refused=self.refused.append,
            clock=lambda: self.now,
        )

    def _spool(self, report: SourceReport | WitnessReport) -> int:
        self.spooled.append(report)
        return len(self.spooled)

    def source_report(self) -> SourceReport:
        (report,) = self.spooled
        assert isinstance(report, SourceReport)
        return report


def target(number: int, address: str = "10.30.0.21") -> Target:
    return Target(
        id=number, environment="prod", address=address, protocol=Protocol.TCP, ports="22", source="10.10.0.10"
    )


def go(*targets: Target, controls: Sequence[ControlTarget] = ()) -> Go:
    return Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=targets, controls=tuple(controls))


def arm(targets: Sequence[Target] = (), inside: Sequence[Target] = ()) -> Arm:
    return Arm(
        round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="x", targets=tuple(targets), inside=tuple(inside)
    )


SEEN = Observation(
    target=1,
    source_address="10.10.0.10",
    address="10.30.0.21",
    protocol=Protocol.TCP,
    state=State.OPEN,
    reason=Reason.SYN_ACK,
    ports="22",
)
REPORT = SourceReport(round="r", agent="dev-1", observations=(SEEN,))


def test_a_source_reports_then_is_done() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == [go(target(1))]
    assert desk.child.busy
    desk.rounds.heard(SourceDone(report=REPORT, tail_s=1.5))
    assert desk.spooled == [REPORT]
    assert desk.answers == [Done(round="r", agent="dev-1", sequence=1, tail_s=1.5)]
    assert not desk.child.busy


def test_a_target_that_is_not_allowed_is_an_error_and_the_others_go_on() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1), target(2, "10.99.0.1")))
    assert desk.child.told == [go(target(1))]
    desk.rounds.heard(SourceDone(report=REPORT))
    seen, refused = desk.source_report().observations
    assert seen == SEEN
    assert (refused.target, refused.state, refused.reason) == (2, State.ERROR, Reason.NOT_ALLOWED)
    assert (refused.ports, refused.source_address) == ("22", "10.10.0.10")
    assert "10.99.0.1 is in no network" in refused.note
    assert desk.refused == [refused.note]


def test_a_control_that_is_not_allowed_is_left_out_and_said() -> None:
    desk = Desk()
    good = ControlTarget(address="10.30.0.1", protocol=Protocol.TCP, port=8883)
    desk.rounds.obey(go(target(1), controls=[good, ControlTarget(address="1.1.1.1", protocol=Protocol.UDP, port=53)]))
    assert desk.child.told == [go(target(1), controls=[good])]
    desk.rounds.heard(SourceDone(report=REPORT))
    assert "control not allowed: 1.1.1.1" in desk.source_report().problems[0]


def test_a_round_of_nothing_allowed_never_starts_the_child() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1, "10.99.0.1")))
    assert desk.child.told == []
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.sequence) == (False, 1)
    assert desk.source_report().observations[0].reason is Reason.NOT_ALLOWED


def test_nothing_is_probed_in_a_blackout_but_a_witness_listens() -> None:
    desk = Desk(not_now="a blackout")
    desk.rounds.obey(go(target(1)))
    assert desk.child.told == []
    assert desk.source_report().observations[0].note == "a blackout"
    desk = Desk(not_now="a blackout")
    desk.rounds.obey(arm([target(1)], inside=[target(2)]))
    assert desk.child.told == [arm([target(1)])]
    assert desk.source_report().role == "inside"


def test_a_witness_arms_closes_and_reports() -> None:
    desk = Desk()
    desk.rounds.obey(arm([target(1)], [target(2)]))
    desk.rounds.heard(ChildArmed(round="r", ok=True))
    assert desk.answers == [Armed(round="r", agent="dev-1", ok=True)]
    inside = SourceReport(round="r", agent="dev-1", role="inside")
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
    assert len(desk.spooled) == 1, "a report after the stop is not a second one"


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
