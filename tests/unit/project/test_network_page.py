"""docs/network.md is what a firewall team opens: its ports are the code's."""

from __future__ import annotations

import re

from cli.commands import trial
from reachability.topology import Probing
from tests.support.paths import ROOT
from wire import dial

PAGE = (ROOT / "docs/network.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
HEAD, *TABLE = ROWS


def ports(cell: str) -> set[int]:
    return {int(number) for number in re.findall(r"\b\d{2,5}\b", cell)}


def test_its_table_says_all_that_a_firewall_team_asks() -> None:
    assert HEAD == ["from", "to", "protocol", "port", "why", "without it"]
    assert [row for row in TABLE if len(row) != len(HEAD) or not all(row)] == []


def test_its_ports_are_those_of_the_code() -> None:
    named = {(row[0], row[2]): ports(row[3]) for row in TABLE}
    broker = {
        ("every agent", "TCP, TLS 1.2 or later"),
        ("every agent", "UDP"),
        ("the coordinator", "TCP, TLS"),
        ("every agent", "TCP"),
    }
    assert {key for key, found in named.items() if found == {dial.PORT}} == broker
    assert named["`segwatch try`: the source's host", "TCP, UDP"] == {trial.MEET}
    assert named["every agent, and the coordinator", "UDP, TCP"] == {53}
    assert f"**{dial.PORT}** is what a broker's URL without a port means" in PAGE
    assert dial.parse_url("mqtts://broker.example") == (("broker.example", dial.PORT),)


def test_its_figures_are_the_defaults() -> None:
    assert f"`probing.flows` ({Probing().flows:,})" in PAGE
    assert f"`probing.rate_pps` ({Probing().rate_pps:,})" in PAGE


def test_readme_and_security_lead_there() -> None:
    for page, link in (
        ("README.md", "docs/network.md"),
        ("docs/security.md", "network.md"),
        ("docs/containers.md", "network.md"),
    ):
        assert f"({link})" in (ROOT / page).read_text("utf-8"), page
