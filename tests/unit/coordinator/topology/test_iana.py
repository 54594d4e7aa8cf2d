"""Services by IANA's names: wherever ports are written, and the same on every machine."""

from __future__ import annotations

import re
import socket
from importlib.resources import files

import pytest

from coordinator.topology.scalars import parse_ports
from reachability.ports import PortSet
from reachability.topology import PortSpec


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("tcp/postgresql", PortSpec(tcp=PortSet.of([5432]))),
        ("tcp/ssh,8080,https", PortSpec(tcp=PortSet.of([22, 443, 8080]))),
        ("udp/ntp", PortSpec(udp=PortSet.of([123]))),
        ("tcp/ms-sql-s", PortSpec(tcp=PortSet.of([1433]))),
        ("tcp/SSH", PortSpec(tcp=PortSet.of([22]))),
    ],
)
def test_a_service_is_its_port(text: str, ports: PortSpec) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp/kafka", "IANA knows no service 'kafka' over tcp; write its port, such as tcp/5000"),
        ("udp/redis", "IANA knows no service 'redis' over udp; write its port, such as udp/5000"),
        (
            "tcp/postgrsql",
            "IANA knows no service 'postgrsql' over tcp; did you mean tcp/postgresql? Else write its port, such as tcp/5000",
        ),
        ("udp/SNPM", "did you mean udp/snmp?"),
        ("tcp/htp", "did you mean tcp/http?"),
        ("tcp/22,mysq", "did you mean tcp/mysql?"),
        ("udp/dns", "IANA knows no service 'dns' over udp; write its port, such as udp/5000"),
        ("tcp/http-alt", "service 'http-alt' has several ports by IANA's list; write tcp/591 or tcp/8008 or tcp/8080"),
        ("tcp/22-x", "'22-x' in 'tcp/22-x' is not a port or a range of ports; write tcp/5000"),
        ("tcp/", "'' in 'tcp/' is not a port or a range of ports; write tcp/5000"),
        ("sctp/9", "segwatch does not test sctp ('sctp/9'), only TCP, UDP and ICMP; leave it out"),
    ],
)
def test_what_is_no_service_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_ports(text)


def test_no_list_of_the_machine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(socket, "getservbyname", asked)
    assert parse_ports("tcp/mysql") == PortSpec(tcp=PortSet.of([3306]))


def test_each_line_of_the_list_is_a_service_and_its_ports() -> None:
    lines = files("coordinator").joinpath("topology/services.txt").read_text("utf-8").splitlines()[1:]
    assert len(lines) > 6000
    line = re.compile(r"(?=[a-z0-9-]*[a-z])[a-z0-9-]{1,15}(?: tcp/[0-9,]+)?(?: udp/[0-9,]+)?")
    assert [one for one in lines if not line.fullmatch(one)] == []
    assert lines == sorted(lines, key=lambda one: one.split()[0])
