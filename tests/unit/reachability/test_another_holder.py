"""An address that two hosts hold: what one of them does not answer is not closed by a firewall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reachability.another_holder import Cells, with_another_holder
from reachability.distance import DIRECT
from reachability.matrix import CellKey
from reachability.ports import ICMP_CELL, PortSet
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Protocol, Reason, State
from tests.support.round_data import DEV, PROD, TCP

VIA = "eth0 10.10.0.1"
SILENT = Evidence(
    protocol=Protocol.TCP, state=State.FILTERED, reason=Reason.NO_RESPONSE, arrival=Arrival.NOT_SEEN, via=VIA,
    sent=4, covered=4, flows=4, control=True,
)  # fmt: skip
RESET = replace(SILENT, state=State.CLOSED, reason=Reason.RESET, hops=1, host_hops=1)
ECHO = replace(SILENT, protocol=Protocol.ICMP, state=State.OPEN, reason=Reason.ECHO_REPLY, hops=1)
OPEN = replace(RESET, state=State.OPEN, reason=Reason.SYN_ACK)


def cells(*evidence: Evidence, address: str = PROD, source: str = DEV) -> Cells:
    return [
        (
            CellKey(agent="dev-1", source_address=source, destination="prod", address=address, protocol=e.protocol),
            replace(TCP, address=address, protocol=e.protocol),
            ICMP_CELL if e.protocol is Protocol.ICMP else PortSet.of([port]),
            e,
        )
        for port, e in enumerate(evidence, 22)
    ]


def rows(found: Cells) -> list[tuple[int, str]]:
    return [(judge(e).row, judge(e).reason) for _, _, _, e in with_another_holder(found)]


PROVEN, UNKNOWN = (15, "no-response"), (18, "answered-elsewhere")


@pytest.mark.parametrize("sign", [RESET, ECHO, replace(ECHO, hops=0, via=f"eth0{DIRECT}")])
def test_an_echo_or_a_reset_as_far_as_the_host_leaves_silence_unknown_in_every_protocol(sign: Evidence) -> None:
    udp = replace(SILENT, protocol=Protocol.UDP, state=State.OPEN_FILTERED)
    assert rows(cells(SILENT, sign, udp))[::2] == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    "sign",
    [
        OPEN,  # a proxy, or NAT of this one port
        replace(RESET, hops=0),
        replace(RESET, hops=0, host_hops=0),  # a proxy at the router makes the host look as near as it
        replace(ECHO, hops=0),
        replace(RESET, host_hops=None),
        replace(RESET, arrival=Arrival.NO_WITNESS),
    ],
)
def test_what_answers_on_the_way_or_for_one_port_says_nothing_of_the_others(sign: Evidence) -> None:
    assert rows(cells(SILENT, sign))[0] == PROVEN


def test_what_arrives_at_the_witness_shows_that_the_address_leads_there() -> None:
    seen = replace(SILENT, arrival=Arrival.SEEN)
    assert rows(cells(SILENT, RESET, seen))[0] == PROVEN
    assert rows([*cells(SILENT, RESET), *cells(seen, source="10.10.0.99")])[0] == UNKNOWN


def test_other_addresses_and_what_the_path_refused_stand() -> None:
    refused = replace(SILENT, reason=Reason.ADMIN_PROHIBITED, prohibited=4, refused=4)
    assert rows(cells(refused, RESET))[0] == (15, "admin-prohibited")
    assert rows([*cells(RESET), *cells(SILENT, address="10.30.0.99")])[1] == PROVEN
    assert rows(cells(replace(SILENT, problem="loss"), RESET))[0] == (18, "loss")
