"""What --to, --control and --meet of a try name."""

from __future__ import annotations

import click
import pytest

from cli.errors import Problem
from cli.trial.asked import asked_of, place, words
from reachability.ports import PortSet
from wire.trial import MOST_PORTS, Asked

OWN = ("10.30.0.10", "10.30.0.11", "fd00:30::10")


def test_ports_belong_to_the_host_before_them() -> None:
    asked = asked_of(
        ["10.30.0.10:22,8000-8002,udp/53,icmp,10.30.0.11:80", "[FD00:30::10]:tcp/443,10.30.0.10:23"], OWN, 8884
    )
    assert asked == (
        Asked("10.30.0.10", PortSet.parse("22-23,8000-8002"), PortSet.parse("53"), icmp=True),
        Asked("10.30.0.11", PortSet.parse("80")),
        Asked("fd00:30::10", PortSet.parse("443")),
    )
    assert words(asked)[0] == "10.30.0.10 tcp/22-23,8000-8002 udp/53 icmp"


@pytest.mark.parametrize(
    "text",
    ["", "22", "10.30.0.10", "10.30.0.10:", "10.30.0.10:0", "10.30.0.10:65536", "10.30.0.10:9-7", "10.30.0.10:sctp/5",
     "fd00:30::10:22", "10.30.0.10:22,,23", "10.30.0.10:-1", "10.30.0.10:22/tcp"],
)  # fmt: skip
def test_what_does_not_read_is_named(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        asked_of([text], OWN, 8884)
    assert f"'{text.partition(',')[0]}'" in str(caught.value) or "''" in str(caught.value)


def test_only_this_hosts_addresses_can_be_witnessed() -> None:
    with pytest.raises(Problem) as caught:
        asked_of(["10.9.9.9:22"], OWN, 8884)
    assert "10.9.9.9" in caught.value.lines[0]
    assert "10.30.0.11" in caught.value.lines[1], "it says which ones there are"


def test_no_probe_goes_to_the_meeting_port() -> None:
    with pytest.raises(Problem, match="8884"):
        asked_of(["10.30.0.10:8880-8890"], OWN, 8884)
    assert asked_of(["10.30.0.10:8880-8890"], OWN, 9999)


def test_more_ports_than_a_line_carries_are_refused() -> None:
    assert asked_of([f"10.30.0.10:1-{MOST_PORTS}"], OWN, 8884)
    with pytest.raises(Problem, match=str(MOST_PORTS + 1)):
        asked_of([f"10.30.0.10:1-{MOST_PORTS}", "10.30.0.11:icmp"], OWN, 8884)


def test_a_place_is_a_host_and_a_port() -> None:
    assert place("10.0.0.53:53", what="--control") == ("10.0.0.53", 53)
    assert place("[fd00::53]:53", what="--control") == ("fd00::53", 53)
    for wrong in ("10.0.0.53", ":53", "fd00::53:53", "10.0.0.53:dns", "10.0.0.53:0"):
        with pytest.raises(click.UsageError, match="--control"):
            place(wrong, what="--control")
