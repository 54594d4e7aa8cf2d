"""How a set of ports travels: as the text that it always was, so that agents of either age understand each other."""

from typing import Any

import msgspec
import pytest

from reachability.arrival import ArrivalRow, Crowded
from reachability.observation import Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.vocabulary import Protocol
from wire.codec import MOST_PORTS_TEXT, decode, encode

HERE: dict[str, Any] = {"id": 1, "environment": "prod", "address": "10.30.0.10"}


def test_ports_travel_as_text_and_those_of_icmp_as_none() -> None:
    tcp = Target(**HERE, protocol=Protocol.TCP, ports=PortSet.parse("22,80-81"), first=PortSet.of([22]))
    sent = msgspec.msgpack.decode(encode(tcp))
    assert (sent["ports"], sent["first"]) == ("22,80-81", "22")
    icmp = Target(**HERE, protocol=Protocol.ICMP)
    sent = msgspec.msgpack.decode(encode(icmp))
    assert (sent["ports"], sent["first"]) == ("", "")
    assert (decode(encode(tcp), Target), decode(encode(icmp), Target)) == (tcp, icmp)
    assert (icmp.ports, icmp.first) == (ICMP_CELL, PortSet())


@pytest.mark.parametrize("kind", [ArrivalRow, Crowded])
def test_a_row_of_icmp_has_its_one_cell_whether_it_says_so_or_not(kind: Any) -> None:
    row = {"target": 1, "address": "10.30.0.10", "protocol": "icmp", "copies": 2}
    assert decode(encode(row), kind).ports == ICMP_CELL
    assert decode(encode({**row, "ports": ""}), kind).ports == ICMP_CELL
    assert decode(encode({**row, "ports": "22"}), kind).ports == ICMP_CELL
    assert decode(encode({**row, "protocol": "tcp"}), kind).ports == PortSet()


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        (22, "a text, not int"),
        (None, "a text, not NoneType"),
        ({"ranges": [[1, 2]]}, "a text, not dict"),
        ("0", "not within 1-65535"),
        ("22;80", "'22;80' is not a port"),
        ("1," * MOST_PORTS_TEXT, f"a text of {2 * MOST_PORTS_TEXT} characters"),
    ],
)
def test_what_are_no_ports_is_named_with_its_place(ports: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"{words}.*`\$.ports`"):
        decode(encode({**HERE, "protocol": "tcp", "ports": ports}), Target)


def test_a_value_that_has_no_form_on_the_wire_is_a_fault_of_ours() -> None:
    with pytest.raises(NotImplementedError, match="object has no form"):
        encode(object())
    with pytest.raises(NotImplementedError, match="complex has no form"):
        decode(encode("1"), complex)
