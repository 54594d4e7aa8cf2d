"""What moved between two readings of the kernel's counters: links that went down, packets that nobody could capture."""

from __future__ import annotations

from probes.host.counters import HostFacts, softnet

BEFORE = HostFacts(
    lost={"softnet dropped": 4, "eth0 rx_missed_errors": 0, "eth0 carrier changes": 2, "eth1 carrier changes": 1}
)


def test_losses_before_the_capture_are_counted_together() -> None:
    later = HostFacts(lost={**BEFORE.lost, "softnet dropped": 7, "eth0 rx_missed_errors": 2, "eth0 carrier changes": 3})
    assert later.missed_since(BEFORE) == 5
    assert BEFORE.missed_since(later) == 0, "a counter that was set back is no gain"
    assert BEFORE.missed_since(BEFORE) == 0


def test_a_link_that_went_down_is_told_where_packets_came_in_by_it() -> None:
    later = HostFacts(lost={**BEFORE.lost, "eth1 carrier changes": 3, "softnet dropped": 7})
    assert later.down_since(BEFORE, frozenset({"eth1"})) == "eth1 carrier changes +2"
    assert later.down_since(BEFORE, frozenset({"eth0"})) == ""
    new = HostFacts(lost={"eth9 carrier changes": 8, "eth9 rx_missed_errors": 8})
    assert (new.down_since(BEFORE, frozenset({"eth9"})), new.missed_since(BEFORE)) == ("", 0), "it was not there before"


def test_the_second_column_of_every_processor_counts() -> None:
    assert softnet("0000a1 00000002 0\n0000b2 0000000a 0\n") == 12
