"""The counters of what the stack did with packets, as this kernel writes them."""

from __future__ import annotations

import struct

import pytest

from probes.host.deliveries import Deliveries, forwards, is_forwarding, pairs, queued, read

SNMP = """Ip: Forwarding DefaultTTL InReceives ForwDatagrams
Ip: 2 64 9 3
Udp: InDatagrams NoPorts InErrors OutDatagrams
Udp: 7 5 1 9
"""
TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  10: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 0
  11: 0100007F:0035 00000000:0000 07 00000000:00000A80 00:00000000 00000000     0        0 2 2 0000000000000000 4
"""


def netconf(**said: int) -> bytes:
    numbers = {"interface": 1, "forwarding": 2}
    return bytes([2, 0, 0, 0]) + b"".join(struct.pack("=HHi", 8, numbers[name], value) for name, value in said.items())


def test_pairs_of_lines_are_read_by_name() -> None:
    assert pairs(SNMP)["Udp.NoPorts"] == 5
    assert pairs(SNMP)["Ip.ForwDatagrams"] == 3


def test_bytes_that_wait_in_all_queues_are_added_up() -> None:
    assert queued(TABLE) == 0xA80
    assert queued("") == 0


def test_what_came_to_wait_is_delivered_and_what_is_read_later_does_not_take_it_back() -> None:
    before = Deliveries(noports=5, delivered=7, waiting=100, forwarded=3)
    assert Deliveries(6, 7, 400, 5).since(before) == Deliveries(1, 1, 300, 2)
    assert Deliveries(5, 8, 0, 3).since(before) == Deliveries(0, 1, 0, 0)
    assert Deliveries(0, 0, 0, 0).since(before) == Deliveries(), "a counter that was set back is no gain"


def test_this_kernel_has_the_counters_of_both_families() -> None:
    assert set(read()) == {4, 6}
    assert forwards() <= {4, 6}


@pytest.mark.parametrize(
    ("answer", "forwarding"),
    [
        (netconf(interface=2, forwarding=1), True),
        (netconf(interface=-1, forwarding=1), True),
        (netconf(interface=2, forwarding=0), False),
        (netconf(interface=-2, forwarding=1), False),  # what new interfaces get
        (netconf(interface=2), False),
    ],
)
def test_whether_an_interface_forwards(answer: bytes, forwarding: bool) -> None:  # noqa: FBT001 - a case of the table
    assert is_forwarding(answer) == forwarding


def test_an_answer_that_is_cut_short_is_an_error() -> None:
    with pytest.raises(OSError, match="cut short"):
        is_forwarding(bytes([2, 0, 0, 0]) + struct.pack("=HHh", 6, 2, 1))
