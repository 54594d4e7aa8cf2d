import pytest

from wire.certificates import SOON_S, agent_uri, ends_soon, is_due, read_uri, renew_at

DAY = 86400.0


@pytest.mark.parametrize("generation", [0, 1795600000])
def test_a_name_holds_its_generation(generation: int) -> None:
    assert read_uri(agent_uri("dev", "dev-1", generation)) == ("dev", "dev-1", generation)


def test_the_first_generation_has_the_name_that_bundles_always_had() -> None:
    assert agent_uri("dev", "dev-1") == "segwatch://agent/dev/dev-1"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "segwatch://coordinator",
        "segwatch://agent/dev",
        "segwatch://agent/dev/dev-1/",
        "segwatch://agent/dev/dev-1/x",
        "segwatch://agent/dev/dev-1/1/2",
        "segwatch://agent/dev/dev-1\n",
        "segwatch://agent/dev/*",
        "https://agent/dev/dev-1",
    ],
)
def test_other_names_are_nobodys(uri: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an agent"):
        read_uri(uri)


def test_it_is_renewed_at_two_thirds_of_its_life_at_the_latest_and_not_all_at_once() -> None:
    assert renew_at(0, 90 * DAY) == 60 * DAY
    assert renew_at(0, 90 * DAY, 1.0) == pytest.approx(52.5 * DAY)


def test_one_that_is_not_valid_yet_is_due_too() -> None:
    assert [is_due(DAY, 91 * DAY, now * DAY) for now in (0, 1, 60, 61, 100)] == [True, False, False, True, True]


def test_its_end_shows_14_days_ahead() -> None:
    assert not ends_soon(0, 90 * DAY, 90 * DAY - SOON_S - 1)
    assert ends_soon(0, 90 * DAY, 90 * DAY - SOON_S + 1)
    assert ends_soon(0, 90 * DAY, 91 * DAY)
    assert not ends_soon(0, 8 * DAY, 5 * DAY), "one that is renewed in time is nothing to show"
    assert ends_soon(0, 8 * DAY, 6.5 * DAY)
