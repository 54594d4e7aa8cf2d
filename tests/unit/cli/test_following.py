"""What `verify` says while a run is under way, and when it gives one up."""

from __future__ import annotations

import pytest

from cli import following
from cli.following import Pace, bar
from coordinator.api.responses.runs import Progress, Run
from tests.support.answers import unfinished


def body(done: int, total: int = 1000, *waiting: str) -> Run:
    return unfinished(progress=Progress(cells=total, done=done), waiting_for=waiting)


def test_it_tells_how_far_how_fast_and_how_long() -> None:
    now = [100.0]
    pace = Pace(alive=True, now=lambda: now[0])
    assert pace.doing(body(0, 1000, "dev-1", "prod-1")) == "verify: waiting for dev-1, prod-1"
    assert pace.doing(body(0, total=0)) == "verify: running"
    assert pace.doing(body(100)) == "verify █░░░░░░░░░  10%  100 of 1,000 cells"
    now[0] += 10
    assert pace.doing(body(600)) == "verify ██████░░░░  60%  600 of 1,000 cells, 50 a second, 8 s left"
    assert pace.doing(body(1000)) == "verify ██████████ 100%  1,000 of 1,000 cells"


def test_where_every_line_stays_it_says_less() -> None:
    now = [100.0]
    pace = Pace(alive=False, now=lambda: now[0])
    pace.doing(body(100))
    now[0] += 10
    assert pace.doing(body(600)).endswith("600 of 1,000 cells")


@pytest.mark.parametrize(("share", "full"), [(-1, 0), (0, 0), (0.09, 0), (0.5, 5), (1, 10), (2, 10)])
def test_the_bar_stays_in_its_places(share: float, full: int) -> None:
    assert bar(share) == "█" * full + "░" * (10 - full)


def test_a_run_that_does_not_end_is_given_up() -> None:
    now = [100.0]
    limit = following.Limit(10.0, lambda: now[0])
    assert not limit.due()
    now[0] += 10
    assert limit.due()
    assert not limit.due(), "once"
    assert limit.cut
    assert not limit.over()
    now[0] += following.GRACE_S
    assert limit.over()
    unlimited = following.Limit(None, lambda: now[0])
    assert not unlimited.due()
    assert not unlimited.over()
