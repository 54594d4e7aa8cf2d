"""A range at an end of a path is one environment's: what another has at the same addresses is not let pass."""

from ipaddress import ip_network

import pytest

from reachability.ranges import AmbiguousRangeError, Owners
from reachability.topology import Environment


def environment(name: str, *networks: str) -> Environment:
    return Environment(name, tuple(ip_network(network) for network in networks))


STAGE, PROD = environment("stage", "10.30.0.0/24", "fd00:30::/64"), environment("prod", "10.30.0.0/24", "10.31.0.0/24")
WIDE, NARROW = environment("wide", "10.40.0.0/16"), environment("narrow", "10.40.5.0/24", "10.40.6.0/24")
ALL = (STAGE, PROD, WIDE, NARROW)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("10.31.0.0/24", "prod"),
        ("10.31.0.7/32", "prod"),
        ("fd00:30::/64", "stage"),
        ("10.40.0.0/16", "wide"),
        ("10.40.7.0/24", "wide"),
        ("10.40.5.0/24", "narrow"),
        ("10.40.5.128/25", "narrow"),
        ("10.40.0.0/15", ""),  # reaches beyond every network
        ("192.0.2.0/24", ""),  # of nobody
        ("fd00::/16", ""),
    ],
)
def test_the_narrowest_network_around_it_decides(text: str, owner: str) -> None:
    assert Owners(ALL).of(ip_network(text)) == owner


@pytest.mark.parametrize("text", ["10.30.0.0/24", "10.30.0.7/32", "10.30.0.0/16", "0.0.0.0/0"])
def test_where_two_have_the_same_network_nobody_guesses(text: str) -> None:
    with pytest.raises(AmbiguousRangeError, match="may be that of") as error:
        Owners(ALL).of(ip_network(text))
    assert sorted(error.value.environments) == ["prod", "stage"]


def test_a_network_that_one_environment_has_twice_over_is_still_one() -> None:
    both = environment("both", "10.50.0.0/24", "10.50.0.0/24")
    assert Owners([both]).of(ip_network("10.50.0.0/25")) == "both"
    assert Owners([both]).of(ip_network("10.48.0.0/12")) == ""
