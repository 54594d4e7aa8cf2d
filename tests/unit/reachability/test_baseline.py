"""What a baseline knows of cells that fail: those it names while they last, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reachability.baseline import Baseline, Entry, Failing, renewed
from reachability.fold import Kind
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import PortSpec
from reachability.vocabulary import Protocol

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENTRY = Entry(
    kind=Kind.UNEXPECTED_PATH,
    source="dev",
    destination="prod",
    agents=("dev-1",),
    addresses=("10.30.0.21",),
    ports=PortSpec(tcp=PortSet.parse("5000-5003")),
    owner="data-eng",
    expires=NOW + timedelta(days=1),
)
FAILING = Failing(
    kind=Kind.UNEXPECTED_PATH,
    source="dev",
    agent="dev-1",
    destination="prod",
    address="10.30.0.21",
    protocol=Protocol.TCP,
    ports=PortSet.parse("5000"),
)
NOTHING = PortSet()


def held(failing: Failing, *entries: Entry) -> tuple[str, str, str]:
    found = Baseline(entries).hold(failing, NOW)
    return str(found.known), str(found.ended), str(found.new)


def test_what_an_entry_names_is_known() -> None:
    assert held(FAILING, ENTRY) == ("5000", "", "")


@pytest.mark.parametrize(
    "other",
    [
        {"kind": Kind.MISSING_PATH},
        {"source": "test"},
        {"destination": "staging"},
        {"agent": "dev-2"},
        {"address": "10.30.0.22"},
        {"protocol": Protocol.UDP},
        {"ports": PortSet.parse("5004")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_anything_is_new(other: dict[str, object]) -> None:
    failing = replace(FAILING, **other)  # type: ignore[arg-type]
    assert held(failing, ENTRY) == ("", "", str(failing.ports))


def test_a_hole_that_grew_is_new_where_it_grew() -> None:
    assert held(replace(FAILING, ports=PortSet.parse("4999-5005")), ENTRY) == ("5000-5003", "", "4999,5004-5005")


def test_an_entry_ends_at_its_end() -> None:
    assert held(FAILING, replace(ENTRY, expires=NOW)) == ("", "5000", "")
    assert held(FAILING, replace(ENTRY, expires=NOW + timedelta(seconds=1))) == ("5000", "", "")


def test_of_two_entries_the_one_that_lasts_counts() -> None:
    ended = replace(ENTRY, expires=NOW)
    both = replace(FAILING, ports=PortSet.parse("5000-5001"))
    lasting = replace(ENTRY, ports=PortSpec(tcp=PortSet.of([5001])))
    assert held(both, ended, lasting) == held(both, lasting, ended) == ("5001", "5000", "")


def test_without_agents_it_is_for_every_agent() -> None:
    assert held(replace(FAILING, agent="dev-2"), replace(ENTRY, agents=())) == ("5000", "", "")


def test_icmp_is_known_only_where_it_is_named() -> None:
    ping = replace(FAILING, protocol=Protocol.ICMP, ports=ICMP_CELL)
    assert Baseline((ENTRY,)).hold(ping, NOW).new
    found = Baseline((replace(ENTRY, ports=PortSpec(icmp=True)),)).hold(ping, NOW)
    assert (len(found.known), len(found.new)) == (1, 0)


def test_renewing_keeps_what_lasts_and_drops_what_ended() -> None:
    ended, fresh = replace(ENTRY, expires=NOW), replace(ENTRY, owner="ada")
    assert renewed(Baseline((ended, ENTRY)), [fresh], NOW).entries == (ENTRY, fresh)
