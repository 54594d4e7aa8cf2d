"""When a broker that runs is taken for one that serves nobody, by a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from coordinator.broker.watchdog import MOST_PATIENCE_S, PATIENCE_S, STEADY_S, Watchdog


class Watched:
    """A link whose connections the test makes, and when its broker was started again."""

    def __init__(self) -> None:
        self.now = 0.0
        self.link = SimpleNamespace(connected=True, connections=1)
        self.restarts: list[float] = []
        self.watchdog = Watchdog(self.link, lambda: self.restarts.append(self.now), lambda: self.now)  # type: ignore[arg-type]

    def go_on(self, seconds: float, *, lasts_s: float = float("inf"), connected: bool = True) -> None:
        """Look once a second; a connection ends and another comes every `lasts_s`."""
        end, self.link.connected = self.now + seconds, connected
        again = self.now + lasts_s
        while self.now < end:
            self.now += 1.0
            if self.now >= again:
                self.link.connections += 1
                again = self.now + lasts_s
            self.watchdog.look()


def test_a_connection_that_lasts_is_left_alone() -> None:
    watched = Watched()
    watched.go_on(10_000)
    watched.go_on(PATIENCE_S - STEADY_S, lasts_s=5)
    watched.go_on(10_000)
    assert watched.restarts == []


@pytest.mark.parametrize(("lasts_s", "connected"), [(5.0, True), (float("inf"), False)])
def test_one_that_hangs_up_on_everybody_or_answers_nobody_is_started_again_and_less_often_each_time(
    *, lasts_s: float, connected: bool
) -> None:
    watched = Watched()
    watched.go_on(100)
    watched.go_on(3000, lasts_s=lasts_s, connected=connected)
    gaps = [round(b - a) for a, b in zip(watched.restarts, watched.restarts[1:], strict=False)]
    assert watched.restarts[0] - 100 == pytest.approx(PATIENCE_S, abs=6)
    assert gaps[:4] == [60, 120, 240, 480]
    assert max(gaps) == MOST_PATIENCE_S
    watched.go_on(100)
    before = len(watched.restarts)
    watched.go_on(PATIENCE_S + 6, connected=False)
    assert len(watched.restarts) == before + 1, "what has served again has the first patience"
