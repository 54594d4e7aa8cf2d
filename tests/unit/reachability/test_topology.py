"""What a declared estate's values say of themselves."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import Environment, PortSpec, family, is_address
from reachability.vocabulary import Protocol
from tests.support.sample import topology

WEB, DNS, PING = PortSpec(tcp=PortSet.parse("80,443")), PortSpec(udp=PortSet.of([53])), PortSpec(icmp=True)


def test_each_protocol_has_its_own_ports() -> None:
    both = WEB | DNS
    assert [str(both.of(protocol)) for protocol in (Protocol.TCP, Protocol.UDP)] == ["80,443", "53"]
    assert both.of(Protocol.ICMP) == PortSet(), "ICMP is declared by itself"
    assert (both | PING).of(Protocol.ICMP) == (PING | both).of(Protocol.ICMP) == ICMP_CELL


def test_a_union_keeps_what_either_names() -> None:
    assert WEB | PortSpec(tcp=PortSet.parse("22")) == PortSpec(tcp=PortSet.parse("22,80,443"))
    assert WEB | PortSpec() == PortSpec() | WEB == WEB


@pytest.mark.parametrize("spec", [WEB, DNS, PING])
def test_a_spec_that_names_one_protocol_is_not_empty(spec: PortSpec) -> None:
    assert spec
    assert not PortSpec()


def test_a_spec_reads_as_a_file_writes_it() -> None:
    assert str(WEB | DNS | PING) == "tcp/80,443 udp/53 icmp"
    assert [str(spec) for spec in (WEB, DNS, PING, PortSpec())] == ["tcp/80,443", "udp/53", "icmp", ""]


def test_an_environment_contains_the_addresses_of_its_networks_and_no_name() -> None:
    prod = Environment("prod", (ip_network("10.30.0.0/24"), ip_network("fd00:30::/64")))
    inside = ("10.30.0.21", "fd00:30::21", "10.30.1.21", "fd00:31::21", "db.prod.internal", "")
    assert [address for address in inside if prod.contains(address)] == ["10.30.0.21", "fd00:30::21"]


def test_an_address_is_not_a_name() -> None:
    texts = ("10.30.0.21", "fd00:30::21", "10.30.0", "10.30.0.021", "db.prod.internal", "")
    assert [text for text in texts if is_address(text)] == ["10.30.0.21", "fd00:30::21"]


def test_every_agent_is_of_one_environment() -> None:
    assert topology().agents() == {"dev-1": "dev", "test-1": "test", "staging-1": "staging", "prod-1": "prod"}


def test_a_name_is_of_no_family() -> None:
    with pytest.raises(ValueError, match="'db.example' is not an IP address"):
        family("db.example")
