"""Who began an exchange of datagrams."""

from __future__ import annotations

from dataclasses import replace

from probes.packets.parse import UDP, Packet
from probes.witness.initiator import HOST_SPOKE_FIRST, Talks

CAME = Packet(1.0, True, True, "eth0", 4, "10.10.0.10", "10.30.0.10", 63, UDP, 40_000, 53)
WENT = replace(CAME, incoming=False, source="10.30.0.10", destination="10.10.0.10", sport=53, dport=40_000)


def test_a_probe_came_first_and_a_bridge_shows_it_again() -> None:
    talks = Talks()
    assert talks.first_of(CAME) == "eth0"
    assert talks.first_of(replace(CAME, interface="br0")) == "eth0"
    talks.spoke(WENT)
    assert talks.first_of(CAME) == "eth0", "an answer does not turn it round"
    assert talks.first_of(replace(CAME, sport=40_001, interface="br0")) == "br0"


def test_an_answer_to_this_host_is_no_probe() -> None:
    talks = Talks()
    talks.spoke(WENT)
    assert talks.first_of(CAME) == HOST_SPOKE_FIRST
    assert talks.first_of(replace(CAME, interface="br0")) == HOST_SPOKE_FIRST
