"""Each doubt about a file that loads, at its line; and the files of which there is none."""

from datetime import UTC, datetime, timedelta

import pytest

from coordinator.topology.lint import Warned, lint
from coordinator.topology.load import parse_topology

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DEV_AGENTS = "    agents:\n      dev-1: {addresses: [10.10.0.10]}\n"
PROD_AGENT = "      prod-1: {addresses: [10.30.0.10]}\n"
PROD_AGENTS = f"    agents:\n{PROD_AGENT}"
DB = "    services:\n      db: {hosts: [10.30.0.21], ports: [tcp/5432]}\n"
QUIET = f"""\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
{DEV_AGENTS}  prod:
    networks: [10.30.0.0/24]
{PROD_AGENTS}{DB}"""
BOTH_FAMILIES = QUIET.replace("[10.30.0.0/24]", '[10.30.0.0/24, "fd00:30::/64"]')
NO_PACKET = QUIET.replace("  prod:\n", "  prod:\n    require: no-packet\n")


def warned(text: str, now: datetime = NOW) -> list[Warned]:
    return lint(parse_topology(text.encode()), now)


def messages(text: str) -> list[str]:
    return [warning.message for warning in warned(text)]


def test_an_estate_without_a_doubt() -> None:
    assert warned(QUIET) == []


def test_an_environment_without_agents() -> None:
    first, second = warned(QUIET.replace(PROD_AGENTS, ""))
    assert first == Warned(7, 3, "no agent can test what 'prod' reaches: declare an agent in it")
    assert second == Warned(7, 3, "nobody controls 10.30.0.21 from inside 'prod': silence there will prove nothing")


def test_an_environment_with_nothing_in_it() -> None:
    assert warned(QUIET.replace(DEV_AGENTS, "")) == [
        Warned(3, 3, "'dev' has neither agent nor service: nothing in it is probed"),
        Warned(3, 3, "no agent can test what 'dev' reaches: declare an agent in it"),
    ]


def test_services_on_the_host_of_the_only_agent() -> None:
    alone = QUIET.replace("10.30.0.21", "10.30.0.10")
    [warning] = warned(alone)
    assert (warning.line, warning.column) == (7, 3)
    assert warning.message.startswith(
        "'prod' has no second agent to control the services on prod-1's host from inside: "
    )
    second = PROD_AGENT + "      prod-2: {addresses: [10.30.0.11]}\n"
    assert warned(alone.replace(PROD_AGENT, second)) == []


def test_an_agent_and_a_service_in_one_family_of_two() -> None:
    assert warned(BOTH_FAMILIES) == [
        Warned(
            10,
            7,
            "'prod-1' has no IPv6 address, but 'prod' has IPv6 networks: nothing is tested from it over IPv6",
        ),
        Warned(
            12,
            7,
            "'db' is declared over IPv4 only, but 'prod' has IPv6 networks: a path to it over IPv6 is not tested",
        ),
    ]


def test_names_and_addresses_that_agents_report_may_be_of_both_families() -> None:
    named = BOTH_FAMILIES.replace("10.30.0.21", "db.prod.internal")
    assert warned(named.replace("{addresses: [10.30.0.10]}", "{}")) == []


def test_both_families_are_in_order() -> None:
    addresses = BOTH_FAMILIES.replace("[10.30.0.10]", '[10.30.0.10, "fd00:30::10"]')
    assert warned(addresses.replace("[10.30.0.21]", '[10.30.0.21, "fd00:30::21"]')) == []


def test_networks_that_overlap() -> None:
    assert warned(QUIET.replace("10.30.0.0/24", "10.0.0.0/8")) == [
        Warned(
            7,
            3,
            "10.0.0.0/8 of 'prod' overlaps 10.10.0.0/24 of 'dev': which of them an address belongs to is not clear",
        ),
    ]


def test_a_waiver_that_expired() -> None:
    text = QUIET + "waivers:\n  - {id: W-1, from: dev, to: prod.db, expires: 2026-11-23T00:00:00Z}\n"
    message = "waiver 'W-1' expired on 2026-11-23: what it covered fails again"
    assert warned(text) == [Warned(14, 5, message)]
    assert warned(text, NOW - timedelta(seconds=1)) == []


def path(source: str, destination: str) -> str:
    return f"paths:\n  - {{name: p, from: {source}, to: {destination}}}\n"


@pytest.mark.parametrize(
    ("source", "destination"),
    [("dev", "dev"), ("prod.db", "dev"), ("10.10.0.99", "prod.db"), ("dev", "10.30.0.99"), ("10.20.0.0/24", "prod")],
)
def test_a_path_that_no_agent_can_observe(source: str, destination: str) -> None:
    [warning] = warned(QUIET + path(source, destination))
    assert (warning.line, warning.column) == (14, 5)
    written = [text if "/" in text or not text[0].isdigit() else f"{text}/32" for text in (source, destination)]
    assert warning.message == f"no agent can observe path 'p': nothing probes from {written[0]} to {written[1]}"


@pytest.mark.parametrize(
    ("source", "destination"),
    [("dev", "prod"), ("dev.dev-1", "prod.db"), ("dev", "prod.prod-1"), ("10.10.0.0/24", "10.30.0.0/24")],
)
def test_a_path_that_an_agent_can_observe(source: str, destination: str) -> None:
    assert warned(QUIET + path(source, destination)) == []


def test_a_source_that_only_its_agent_knows_is_given_the_doubt() -> None:
    text = QUIET.replace("{addresses: [10.10.0.10]}", "{}")
    assert warned(text + path("10.10.0.77", "prod.db")) == []


def test_no_packet_where_nobody_watches_the_host() -> None:
    message = "'prod' requires no-packet, which only an agent on the host can show; there is none on 10.30.0.21"
    assert warned(NO_PACKET) == [Warned(7, 3, message)]
    assert messages(NO_PACKET.replace("{addresses: [10.30.0.10]}", "{}")) == []
    second = PROD_AGENT + "      prod-2: {addresses: [10.30.0.21]}\n"
    assert messages(NO_PACKET.replace(PROD_AGENT, second)) == []


def test_a_cycle_that_does_not_fit_its_period() -> None:
    first, second = warned(QUIET + "probing: {every: 10s, rate_pps: 10}\n")
    assert [(first.line, first.column), (second.line, second.column)] == [(6, 7), (10, 7)]
    assert first.message.startswith("a cycle of 'dev-1' takes about ")
    assert first.message.endswith(" s at 10 packets a second, but probing.every is 10 s: raise rate_pps or the period")
    assert second.message.startswith("a cycle of 'prod-1' takes about ")


def test_a_sweep_that_does_not_fit_its_period() -> None:
    sweep = "probing: {rate_pps: 100, sweep: {every: 1h, ports: [tcp/1-65535]}}\n"
    [warning] = warned(QUIET + sweep)
    assert (warning.line, warning.column) == (6, 7)
    assert warning.message.startswith("a sweep of 'dev-1' takes about ")
    assert "but probing.sweep.every is 3,600 s" in warning.message
    assert warned(QUIET + sweep.replace("every: 1h, ", "")) == []


def test_a_sweep_that_waits_for_room_in_connection_tables() -> None:
    sweep = "probing: {rate_pps: 100000, flows: 1000, sweep: {every: 30m, ports: [tcp/1-65535]}}\n"
    warning, *_ = warned(QUIET + sweep)
    assert "s with 1000 entries in connection tables at a time, but probing.sweep.every is 1,800 s" in warning.message
    assert warning.message.endswith(": raise flows or the period")
    assert warned(QUIET + sweep.replace("flows: 1000,", "flows: 1000000,")) == []


def test_doubts_come_in_the_order_of_the_file_and_once() -> None:
    found = warned(QUIET.replace(DEV_AGENTS, "").replace("10.30.0.0/24", "10.0.0.0/8") + path("dev", "dev"))
    assert found == sorted(set(found))
    assert {warning.line for warning in found} == {3, 5, 12}


@pytest.mark.parametrize("windows", ['{cron: "*/5 * * * *", for: 10m}', '{cron: "0 0 * * *", for: 24h, timezone: UTC}'])
def test_a_blackout_that_is_always_open(windows: str) -> None:
    [warning] = warned(f"{QUIET}probing:\n  blackout: [{windows}]\n")
    assert warning.line == QUIET.count("\n") + 2
    assert "open without a gap" in warning.message
    assert "nothing is probed" in warning.message


def test_a_blackout_that_never_opens() -> None:
    [warning] = warned(
        f'{QUIET}probing:\n  blackout:\n    - {{cron: "0 2 * * 0", for: 2h}}\n    - {{cron: "0 0 31 2 *", for: 1h}}\n'
    )
    assert warning.line == QUIET.count("\n") + 4
    assert warning.message == "blackout '0 0 31 2 *' never opens: no year has that date"


@pytest.mark.parametrize("name", ["2026-01-01", "1_000", "0o17", "0b11"])
def test_a_name_that_reads_like_a_number(name: str) -> None:
    [warning] = warned(QUIET.replace("10.30.0.21", f'"{name}"'))
    assert warning.message.startswith(
        f"host '{name}' of 'db' is taken for a DNS name, and reads like a number or a date"
    )


@pytest.mark.parametrize("name", ["localhost", "db.localhost", "localhost.localdomain"])
def test_a_name_of_each_host_for_itself(name: str) -> None:
    [warning] = warned(QUIET.replace("10.30.0.21", name))
    assert warning.message.startswith(f"host '{name}' of 'db' is each host's own: an agent would probe itself there")


@pytest.mark.parametrize("name", ["db", "db-2", "1und1.de", "2026.example", "3com", "1-2.example", "0x7f.example"])
def test_names_of_hosts_are_no_numbers(name: str) -> None:
    assert warned(QUIET.replace("10.30.0.21", name)) == []


def test_a_network_that_is_wider_than_most_have() -> None:
    wide = QUIET.replace("[10.30.0.0/24]", '[10.0.0.0/7, 10.30.0.0/24, "fd00::/31"]\n    allow_wide: true')
    [warning] = [one for one in warned(wide) if "wide" in one.message]
    assert (warning.line, warning.column) == (7, 3)
    assert warning.message.startswith(
        "'prod' is as wide as 10.0.0.0/7, fd00::/31: bundles allow agents to probe all of it"
    )
    as_most = QUIET.replace("[10.30.0.0/24]", '[10.0.0.0/8, "fd00::/32"]\n    allow_wide: true')
    assert not [one for one in warned(as_most) if "wide" in one.message]
