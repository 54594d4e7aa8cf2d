from pathlib import Path

import pytest

from agent.losses import Clock
from agent.outbox import FIRST_RESEND_S, LOOK_S, MOST_RESEND_S, Outbox
from agent.spool import MOST_AGE_S, Spool
from reachability.observation import SourceReport
from tests.support.spools import Wire
from wire.messages import Ack


class Case:
    def __init__(self, path: Path, jitter: float = 0.5) -> None:
        self.now, self.wire = 0.0, Wire()
        self.spool = Spool(path, clock=Clock(lambda: self.now, lambda: 0.0, "b"))
        self.outbox = Outbox(
            self.wire, self.spool, "t", sign=lambda sealed: sealed, clock=lambda: self.now, jitter=lambda: jitter
        )

    def put(self, count: int = 1) -> None:
        for _ in range(count):
            self.spool.put(sources=(SourceReport(round="r", agent="a"),))


@pytest.mark.asyncio
async def test_each_is_sent_once_and_again_with_growing_pauses(tmp_path: Path) -> None:
    case = Case(tmp_path / "s")
    case.put(2)
    assert await case.outbox.send_due() == FIRST_RESEND_S
    assert case.wire.sent == [1, 2]
    case.now = 4.9
    await case.outbox.send_due()
    assert case.wire.sent == [1, 2]
    for due in (5, 15, 35, 75, 135, 195):
        case.now = due - 0.1
        await case.outbox.send_due()
        before = len(case.wire.sent)
        case.now = due
        await case.outbox.send_due()
        assert case.wire.sent[before:] == [1, 2]


@pytest.mark.asyncio
async def test_an_acknowledgement_ends_it(tmp_path: Path) -> None:
    case = Case(tmp_path / "s")
    case.put(3)
    await case.outbox.send_due()
    assert case.outbox.acknowledged(Ack(spool=case.spool.id, sequence=2)) == 2
    case.now = 10
    await case.outbox.send_due()
    assert case.wire.sent == [1, 2, 3, 3]
    assert case.outbox.acknowledged(Ack(spool=case.spool.id, sequence=3)) == 1
    assert await case.outbox.send_due() == LOOK_S


@pytest.mark.asyncio
async def test_a_cut_link_loses_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path / "s")
    case.put(2)
    case.wire.cut = True
    assert await case.outbox.send_due() < 1
    case.wire.cut = False
    await case.outbox.send_due()
    case.outbox.reconnected()
    await case.outbox.send_due()
    assert case.wire.sent == [1, 2, 1, 2]


@pytest.mark.asyncio
@pytest.mark.parametrize("jitter", [0.0, 1.0])
async def test_the_pauses_are_spread_by_a_quarter_to_both_sides_and_bounded(tmp_path: Path, jitter: float) -> None:
    case = Case(tmp_path / "s", jitter)
    case.put()
    for base in (5.0, 10.0, 20.0, 40.0, MOST_RESEND_S, MOST_RESEND_S):
        pause = base * (0.75 + 0.5 * jitter)
        await case.outbox.send_due()
        count = len(case.wire.sent)
        case.now += pause - 0.01
        await case.outbox.send_due()
        assert len(case.wire.sent) == count, "not before its time"
        case.now += 0.01
    assert case.wire.sent == [1] * 6


@pytest.mark.asyncio
async def test_an_acknowledgement_of_another_spool_sends_nothing_early(tmp_path: Path) -> None:
    case = Case(tmp_path / "s")
    case.put()
    await case.outbox.send_due()
    assert case.outbox.acknowledged(Ack(spool="another", sequence=9)) == 0
    await case.outbox.send_due()
    assert case.wire.sent == [1]


@pytest.mark.asyncio
async def test_what_grows_too_old_while_nobody_puts_anything_is_sent_as_a_gap(tmp_path: Path) -> None:
    case = Case(tmp_path / "s")
    case.put(3)
    case.wire.cut = True
    await case.outbox.send_due()
    case.now, case.wire.cut = MOST_AGE_S + 1, False
    await case.outbox.send_due()
    assert case.wire.sent == [3]
    assert len(case.spool) == 0
    assert case.outbox.acknowledged(Ack(spool=case.spool.id, sequence=3)) == 1
    assert case.spool.sequences() == ()
