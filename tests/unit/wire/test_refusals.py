"""The log of what was refused: bounded whatever comes, and no refusal goes uncounted."""

from wire.refusals import SHOWN, Refusals


def test_all_are_counted_and_few_are_kept_however_many_come() -> None:
    refusals = Refusals()
    assert [refusals.add(f"cause {number}") for number in range(10_000)] == [True] * 10_000
    assert refusals.count == 10_000
    assert refusals.newest == tuple(f"cause {number}" for number in range(10_000 - SHOWN, 10_000))


def test_what_comes_again_is_said_once_and_a_new_cause_still_is() -> None:
    refusals = Refusals()
    assert [refusals.add(why) for why in ("a", "a", "b", "a")] == [True, False, True, False]
    assert (refusals.count, refusals.newest) == (4, ("a", "b"))
