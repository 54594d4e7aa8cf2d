"""What an agent's rounds send to: what its allow-list holds, whatever is asked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.child.protocol import SourceDone
from reachability.allow import AllowList
from reachability.observation import ControlTarget
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.desk import REPORT, SEEN, Desk, arm, go, target
from wire.messages import Arm, Done, Go


def test_a_target_that_is_not_allowed_is_an_error_and_the_others_go_on() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1), target(2, "10.99.0.1")))
    assert desk.child.told == [go(target(1))]
    desk.rounds.heard(SourceDone(report=REPORT))
    seen, refused = desk.source_report().observations
    assert seen == SEEN
    assert (refused.target, refused.state, refused.reason) == (2, State.ERROR, Reason.NOT_ALLOWED)
    assert (str(refused.ports), refused.source_address) == ("22", "10.10.0.10")
    assert "10.99.0.1 is in no network" in refused.note
    assert desk.refused == [refused.note]


def test_a_control_that_is_not_allowed_is_left_out_and_said() -> None:
    desk = Desk()
    good = ControlTarget(address="10.30.0.1", protocol=Protocol.TCP, port=8883)
    desk.rounds.obey(go(target(1), controls=[good, ControlTarget(address="1.1.1.1", protocol=Protocol.UDP, port=53)]))
    assert desk.child.told == [go(target(1), controls=[good])]
    desk.rounds.heard(SourceDone(report=REPORT))
    assert "control not allowed: 1.1.1.1" in desk.source_report().problems[0]


BROKER = "203.0.113.5"
AT_THE_BROKER = tuple(
    ControlTarget(address=BROKER, protocol=protocol, port=18883) for protocol in (Protocol.TCP, Protocol.UDP)
)


def test_where_the_agent_is_connected_is_a_control_whatever_the_coordinator_knows_of_its_address() -> None:
    desk = Desk()
    desk.broker = (BROKER, 18883)
    desk.rounds.obey(go(target(1), controls=[ControlTarget(address="10.0.0.10", protocol=Protocol.TCP, port=8883)]))
    assert desk.child.told == [go(target(1), controls=AT_THE_BROKER)]
    desk.rounds.heard(SourceDone(report=REPORT))
    assert desk.source_report().problems == (
        "control not allowed: 10.0.0.10 is in no network that this agent's configuration allows",
    )


@pytest.mark.parametrize(
    ("deny", "broker", "own", "kind", "added"),
    [
        ((), BROKER, (), RoundKind.CHALLENGE, AT_THE_BROKER),
        ((), BROKER, ("203.0.113.0/24",), RoundKind.NORMAL, ()),  # inside its own environment it shows nothing
        ((BROKER + "/32",), BROKER, (), RoundKind.NORMAL, ()),
        ((), BROKER, (), RoundKind.TRACE, ()),
        ((), "10.30.0.1", (), RoundKind.NORMAL, ()),  # the coordinator asks for it already
    ],
)
def test_when_the_broker_is_a_control(
    deny: tuple[str, ...], broker: str, own: tuple[str, ...], kind: RoundKind, added: tuple[ControlTarget, ...]
) -> None:
    desk = Desk(deny=deny)
    desk.broker = (broker, 18883)
    given = (ControlTarget(address="10.30.0.1", protocol=Protocol.TCP, port=8883),)
    order = Go(round="r", key=b"k" * 16, kind=kind, targets=(target(1),), networks=own, controls=given)
    desk.rounds.obey(order)
    (told,) = desk.child.told
    assert isinstance(told, Go)
    assert told.controls == (*given, *added)
    assert desk.refused == []


def test_a_round_of_nothing_allowed_never_starts_the_child() -> None:
    desk = Desk()
    desk.rounds.obey(go(target(1, "10.99.0.1")))
    assert desk.child.told == []
    (done,) = desk.answers
    assert isinstance(done, Done)
    assert (done.ok, done.sequence) == (False, 1)
    assert desk.source_report().observations[0].reason is Reason.NOT_ALLOWED


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
    order = Go(
        round="r", key=b"k" * 16, kind=kind, targets=(rebound,), controls=(control,), groups=((1, PortSet.parse("53")),)
    )
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
