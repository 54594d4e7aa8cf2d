from datetime import UTC, datetime

import pytest

from reachability.allow import AllowList
from reachability.topology import Blackout

ALLOW = AllowList.of(["10.30.0.0/24", "fd00:30::/64", "192.0.2.1"], ["10.30.0.99/32", "fd00:30::99"])


@pytest.mark.parametrize("address", ["10.30.0.1", "fd00:30::1", "192.0.2.1"])
def test_what_is_allowed(address: str) -> None:
    assert ALLOW.refuses(address) == ""


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.30.1.1", "in no network that this agent's configuration allows"),
        ("192.0.2.2", "in no network"),
        ("fd00:31::1", "in no network"),
        ("10.30.0.99", "is in 10.30.0.99/32, which this agent's configuration denies"),
        ("fd00:30::99", "denies"),
        ("features.prod.internal", "is not an address"),
        ("", "is not an address"),
        ("10.30.0.0/24", "is not an address"),
    ],
)
def test_what_is_refused(address: str, words: str) -> None:
    assert words in ALLOW.refuses(address)


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"])
def test_no_allow_list_allows_many_hosts_at_once(address: str) -> None:
    assert "not one host's" in AllowList.of(["0.0.0.0/0", "::/0"]).refuses(address)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:10.30.0.1",
        "::ffff:10.30.0.99",
        "::ffff:10.40.0.1",
        "::ffff:224.0.0.1",
        "::ffff:a1e:63",
        "::ffff:0.0.0.0",
    ],
)
def test_an_ipv4_address_in_the_clothes_of_ipv6_is_refused_whatever_the_rules_for_it(address: str) -> None:
    allow = AllowList.of(["::/0", "10.30.0.0/24"], ["10.30.0.99"])
    assert allow.refuses(address)


@pytest.mark.parametrize("address", ["10.030.0.1", "0x0a1e0001", "169541633", "10.30.1", "10.30.0.1\n", " 10.30.0.1"])
def test_what_a_resolver_might_take_for_an_address_is_none(address: str) -> None:
    assert "is not an address" in ALLOW.refuses(address)


def test_an_empty_allow_list_allows_nothing() -> None:
    assert AllowList.of([]).refuses("10.0.0.1")


def test_a_blackout_of_the_hosts_owner() -> None:
    allow = AllowList.of(["10.0.0.0/8"], blackout=[Blackout("0 2 * * *", 3600.0)])
    assert "has a blackout now: '0 2 * * *' UTC" in allow.refuses_now(datetime(2026, 1, 1, 2, 30, tzinfo=UTC))
    assert allow.refuses_now(datetime(2026, 1, 1, 3, 30, tzinfo=UTC)) == ""


def test_an_ipv4_address_in_ipv6s_clothes_gets_past_no_rule() -> None:
    allow = AllowList.of(["::/0", "10.0.0.0/8"], ["10.30.0.5"])
    assert "IPv4-mapped IPv6 address" in allow.refuses("::ffff:10.30.0.5")
    assert allow.refuses("fd00::5") == ""
