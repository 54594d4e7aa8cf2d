"""Which orders are new, by a clock that the test owns. The wall clock of neither side is asked."""

from itertools import count

import pytest

from agent.challenges import RENEW_S, SLACK_S, Challenges
from wire.messages import Ack, Close, Stop
from wire.signing import LIFETIME_S, AnyDown, Refused, Replayed, SignedOrder

NOON = 1_800_000_000.0


class Desk:
    """An agent's challenges, and a coordinator whose sequence and wall clock the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        random = count(1)
        self.challenges = Challenges(lambda: self.now, lambda: next(random).to_bytes(16))
        self.sequence = 0

    def order(
        self, echo: bytes, *, body: AnyDown | None = None, sequence: int = 0, issued: float = NOON
    ) -> SignedOrder:
        self.sequence = sequence or self.sequence + 1
        wanted = body or Close(round="r")
        return SignedOrder(
            agent="dev-1", sequence=self.sequence, issued=issued, expires=issued + LIFETIME_S, body=wanted, echo=echo
        )


def test_an_order_is_taken_once() -> None:
    desk = Desk()
    order = desk.order(desk.challenges.current())
    desk.challenges.take(order)
    for _ in range(2):
        with pytest.raises(Replayed, match="replayed, or overtaken by a newer one: sequence 1, 1 was taken"):
            desk.challenges.take(order)


def test_what_was_overtaken_stays_out() -> None:
    """A broker that lets a stop pass the go before it would set off what was stopped."""
    desk = Desk()
    go, stop = desk.order(desk.challenges.current()), desk.order(desk.challenges.current(), body=Stop())
    desk.challenges.take(stop)
    with pytest.raises(Replayed, match="overtaken"):
        desk.challenges.take(go)


def test_channels_do_not_wait_for_each_other() -> None:
    desk = Desk()
    echo = desk.challenges.current()
    go, ack = desk.order(echo), desk.order(echo, body=Ack(spool="s", sequence=1))
    desk.challenges.take(ack)
    desk.challenges.take(go)


def test_an_older_challenge_does_not_come_after_a_newer_one_whatever_its_sequence() -> None:
    desk = Desk()
    first = desk.challenges.current()
    desk.now += RENEW_S
    second = desk.challenges.current()
    assert first != second
    desk.challenges.take(desk.order(second, sequence=5))
    with pytest.raises(Replayed):
        desk.challenges.take(desk.order(first, sequence=9))


def test_a_challenge_is_kept_for_some_seconds() -> None:
    desk = Desk()
    first = desk.challenges.current()
    desk.now += RENEW_S - 1
    assert desk.challenges.current() == first, "many refusals must not make many challenges"


def test_it_expires_by_the_agents_own_steady_clock() -> None:
    desk = Desk()
    in_time, late = (desk.order(desk.challenges.current()) for _ in range(2))
    desk.now += LIFETIME_S + SLACK_S
    desk.challenges.take(in_time)
    desk.now += 1
    with pytest.raises(Refused, match="expired: it was for 60 s and came up to 126 s late"):
        desk.challenges.take(late)
    desk.now += RENEW_S
    desk.challenges.current()
    with pytest.raises(Replayed, match="nothing that this agent has recently asked"):
        desk.challenges.take(late)
    assert len(desk.challenges._asked) == 1


@pytest.mark.parametrize("lifetime_s", [1e9, float("inf"), float("nan")])
def test_no_letter_lives_longer_than_the_longest(lifetime_s: float) -> None:
    desk = Desk()
    order = SignedOrder(
        agent="dev-1",
        sequence=1,
        issued=0.0,
        expires=lifetime_s,
        body=Stop(),
        echo=desk.challenges.current(),
    )
    desk.now += LIFETIME_S + SLACK_S + 1
    with pytest.raises(Refused, match="has expired"):
        desk.challenges.take(order)


def test_an_order_of_before_a_restart_is_refused_with_no_state_at_all() -> None:
    before, after = Challenges(lambda: 0.0), Challenges(lambda: 0.0)
    order = Desk().order(before.current())
    before.take(order)
    after.current()
    with pytest.raises(Replayed, match="from another start"):
        after.take(order)


def test_nothing_can_be_signed_in_advance() -> None:
    desk = Desk()
    desk.challenges.current()
    with pytest.raises(Replayed, match="nothing that this agent has recently asked"):
        desk.challenges.take(desk.order(b"a challenge that is yet to come"))


def test_a_coordinator_that_repeats_nothing_is_older() -> None:
    desk = Desk()
    desk.challenges.current()
    with pytest.raises(Refused, match="the coordinator is older. Upgrade it"):
        desk.challenges.take(desk.order(b""))


def test_a_sequence_that_falls_back_is_obeyed_from_the_next_challenge_on() -> None:
    """The coordinator's store was lost, or restored, and its clock set back: never for longer than a status."""
    desk = Desk()
    desk.challenges.take(desk.order(desk.challenges.current(), sequence=2_000_000_000_000))
    restored = desk.order(desk.challenges.current(), sequence=7)
    with pytest.raises(Replayed):
        desk.challenges.take(restored)
    desk.now += RENEW_S
    desk.challenges.take(desk.order(desk.challenges.current(), sequence=8))


@pytest.mark.parametrize("hours", [-24, -1, 1, 24 * 365])
def test_the_coordinators_clock_may_be_anything(hours: int) -> None:
    desk = Desk()
    desk.challenges.take(desk.order(desk.challenges.current(), issued=NOON))
    desk.challenges.take(desk.order(desk.challenges.current(), issued=NOON + hours * 3600))
