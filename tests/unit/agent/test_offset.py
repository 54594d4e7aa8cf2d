"""What is left for `segwatch agent --check` of the clocks' distance: written when it says something new."""

from pathlib import Path

import pytest

from agent.offset import EVERY_S, FILE, record, recorded


@pytest.mark.parametrize(
    ("ahead_s", "later_s", "expected"),
    [
        (12.3, 30.0, (12.0, 1000.0)),
        (14.0, 30.0, (14.0, 1030.0)),
        (12.0, EVERY_S, (12.0, 1000.0 + EVERY_S)),
        (12.0, -500.0, (12.0, 500.0)),
    ],
    ids=["the same again", "another distance", "long ago", "this clock was set back"],
)
def test_it_is_not_written_with_every_plan(
    tmp_path: Path, ahead_s: float, later_s: float, expected: tuple[float, float]
) -> None:
    assert recorded(tmp_path) is None
    record(tmp_path, 12.0, 1000.0)
    record(tmp_path, ahead_s, 1000.0 + later_s)
    assert recorded(tmp_path) == expected


def test_where_it_cannot_be_written_people_do_without(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    record(tmp_path, 12.0, 1000.0)
    assert recorded(tmp_path) is None
