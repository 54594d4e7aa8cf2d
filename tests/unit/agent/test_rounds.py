from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.allow import AllowList
from agent.rounds import SOURCE_S, Rounds
from probes.child.protocol import ChildArmed, SourceDone, ToChild, WitnessDone
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
        self.not_now = not_now
        allow = AllowList.of(["10.30.0.0/24"])
        self.rounds = Rounds(
            "dev-1",
            lambda: (allow, self.not_now),
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


@pytest.mark.parametrize("kind", list(RoundKind))
def test_no_kind_of_round_takes_a_name_to_the_child_that_may_lead_elsewhere_meanwhile(kind: RoundKind) -> None:
    """What looked the name up is the coordinator's `Resolve`, before; an order names addresses, and those are checked."""
    desk = Desk()
    order = Go(round="r", key=b"k" * 16, kind=kind, targets=(target(1), target(2, "features.prod.internal")))
    desk.rounds.obey(order)
    (told,) = desk.child.told
    assert isinstance(told, Go)
    assert [t.address for t in told.targets] == ["10.30.0.21"]
    desk.rounds.heard(SourceDone(report=REPORT))
    unresolved = desk.source_report().observations[1]
    assert (unresolved.target, unresolved.state, unresolved.reason) == (2, State.ERROR, Reason.RESOLVE_FAILED)
    assert desk.refused == [], "that a name does not resolve is nobody's attack"


@pytest.mark.parametrize("kind", list(RoundKind))
def test_a_name_that_leads_outside_the_allow_list_is_refused_in_every_kind_of_round(kind: RoundKind) -> None:
    desk = Desk()
    rebound = replace(target(1, "169.254.169.254"), name="features.prod.internal", canary=50_000)
    control = ControlTarget(address="192.0.2.7", protocol=Protocol.TCP, port=22, kind="pair")
    order = Go(round="r", key=b"k" * 16, kind=kind, targets=(rebound,), controls=(control,), groups=((1, "53"),))
    desk.rounds.obey(order)
    desk.rounds.obey(arm(inside=[rebound]))
    assert desk.child.told == []
    assert any("169.254.169.254 is in no network" in why for why in desk.refused)
    assert any("192.0.2.7 is in no network" in why for why in desk.refused)


ANYWHERE = st.sampled_from(
    [
        "10.30.0.21",
        "10.30.0.99",
        "10.30.1.1",
        "::ffff:10.30.0.21",
        "::ffff:10.99.0.1",
        "224.0.0.1",
        "db.prod.internal",
        "",
    ]
)


@given(
    st.sampled_from(RoundKind),
    st.lists(ANYWHERE, max_size=5),
    st.lists(ANYWHERE, max_size=3),
    st.lists(ANYWHERE, max_size=3),
)
def test_whatever_is_asked_only_addresses_that_are_allowed_reach_what_sends(
    kind: RoundKind, to: list[str], controls: list[str], inside: list[str]
) -> None:
    desk = Desk()
    asked = tuple(ControlTarget(address=address, protocol=Protocol.ICMP) for address in controls)
    targets = tuple(target(number, address) for number, address in enumerate(to))
    desk.rounds.obey(Go(round="r", key=b"k" * 16, kind=kind, targets=targets, controls=asked))
    desk.rounds.obey(arm(inside=[target(number, address) for number, address in enumerate(inside)]))
    allow = AllowList.of(["10.30.0.0/24"])
    for order in desk.child.told:
        assert isinstance(order, Go | Arm)
        sent_to = [each.address for each in (order.targets if isinstance(order, Go) else order.inside)]
        sent_to += [each.address for each in order.controls] if isinstance(order, Go) else []
        assert not any(map(allow.refuses, sent_to))


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
