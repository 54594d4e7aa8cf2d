"""What a single text of a topology means: durations, ports, networks, hosts, times. ValueError says what is wrong.

Each parser is also the check of the JSON Schema's `format` of that name, so that editor, check and loader agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from coordinator.topology.document import shown
from coordinator.topology.iana import nearest_service, ports_of
from reachability.blackout import Cron, zone
from reachability.ports import PortSet
from reachability.topology import Address, Network, PortSpec, is_address
from reachability.vocabulary import NOT_TESTED

LONGEST_S = 366 * 86400.0
LEAST_SPREAD_S, MOST_SPREAD_S = 0.1, 60.0
LONGEST_NAME = 253
END_IS = "an environment, environment.agent, environment.service or a network"
CRON_IS = "write one such as 0 2 * * 0"
PORTS_ARE = "write tcp/5000, tcp/8000-8010, udp/53 or icmp"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PORT = re.compile(r"[0-9]{1,5}")
_SERVICE = re.compile(r"(?=.*[a-z])(?!-|[0-9]+-)(?!.*--)[a-z0-9-]{1,15}(?<!-)", re.IGNORECASE)  # RFC 6335, 5.1
_MEANT = re.compile(r"(?:tcp|udp)/[1-9][0-9]{0,3}")
_MEANT_PORT = re.compile(r"(?:tcp|udp)[/:][1-9][0-9]{0,4}|icmp(?:v?6|v4)?", re.IGNORECASE)
_RANGE = re.compile(
    r"(?:[0-9]+\.){2,}[0-9.]*[x*,\[{-][0-9.x*,\[\]{}-]*|(?=.*:.*:)[0-9a-f:]*:[0-9a-f:]*[x*,-][0-9a-f:x*,-]*",
    re.IGNORECASE,
)
_HEXADECIMAL = re.compile(r"(?:.*\.)?0x[0-9a-f]*")  # what inet_aton(3) reads as an address
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_DATE_ONLY = 10  # 2027-01-31


def parse_duration(text: str) -> float:
    """Seconds of `60s`, `5m`, `24h`, `1.5h`, `7d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not a duration; write a number and a unit: 30s, 5m, 24h, 7d")
    seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= LONGEST_S:
        raise ValueError(f"{shown(text)} is out of range; a duration is more than 0 and at most 366d")
    return seconds


def parse_spread(text: str) -> float:
    """Seconds over which copies leave: `4s`."""
    seconds = parse_duration(text)
    if not LEAST_SPREAD_S <= seconds <= MOST_SPREAD_S:
        raise ValueError(f"{shown(text)} is out of range; copies are spread over 100ms at least and 60s at most")
    return seconds


def parse_ports(text: str) -> PortSpec:
    """`tcp/5000`, `tcp/1-65535`, `tcp/postgresql`, `udp/53,123` or `icmp`."""
    if text == "icmp":
        return PortSpec(icmp=True)
    protocol, slash, ports = text.partition("/")
    if protocol.lower() in NOT_TESTED:
        raise ValueError(
            f"segwatch does not test {protocol.lower()} ({shown(text)}), only TCP, UDP and ICMP; leave it out, and check such "
            "rules where they are configured"
        )
    if protocol not in {"tcp", "udp"} or not slash:
        if _MEANT_PORT.fullmatch(text):
            near = text.lower().replace(":", "/")
            raise ValueError(
                f"{shown(text)} is not a protocol with ports; did you mean {'icmp' if near.startswith('icmp') else near}?"
            )
        meant = f"tcp/{text}" if _PORT.fullmatch(text) else "/".join(reversed(text.split("/")))
        hint = f"; did you mean {meant}?" if _MEANT.fullmatch(meant) else f"; {PORTS_ARE}"
        raise ValueError(f"{shown(text)} is not a protocol with ports{hint}")
    ranges = [_named(part, protocol) if _SERVICE.fullmatch(part) else _range(part, text) for part in ports.split(",")]
    found = PortSet.from_ranges(ranges)
    return PortSpec(tcp=found) if protocol == "tcp" else PortSpec(udp=found)


def _named(name: str, protocol: str) -> tuple[int, int]:
    """The port of a service; a name of several would let more through than was meant."""
    found = ports_of(name, protocol)
    if not found:
        meant = nearest_service(name, protocol)
        hint = f"did you mean {protocol}/{meant}? Else write its port" if meant else "write its port"
        raise ValueError(f"IANA knows no service {shown(name)} over {protocol}; {hint}, such as {protocol}/5000")
    if len(found) > 1:
        choice = " or ".join(f"{protocol}/{port}" for port in found)
        raise ValueError(f"service {shown(name)} has several ports by IANA's list; write {choice}")
    return found[0], found[0]


def _range(part: str, text: str) -> tuple[int, int]:
    low, dash, high = part.partition("-")
    if not _PORT.fullmatch(low) or (dash and not _PORT.fullmatch(high)):
        raise ValueError(f"{shown(part)} in {shown(text)} is not a port or a range of ports; {PORTS_ARE}")
    first, last = int(low), int(high) if dash else int(low)
    for port in (first, last):
        if not 1 <= port <= 65535:  # noqa: PLR2004 - what a port is
            raise ValueError(f"port {port} in {shown(text)} does not exist; ports go from 1 to 65535")
    if first > last:
        raise ValueError(f"range {part} in {shown(text)} is reversed; write {last}-{first}")
    return first, last


def parse_network(text: str) -> Network:
    """A network in CIDR notation, without host bits."""
    address, slash, prefix = text.partition("/")
    try:
        first = ip_address(address)
        loose = ip_network(f"{address}/{_prefix(prefix) if slash else first.max_prefixlen}", strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a network; write one such as 10.30.0.0/24") from None
    if isinstance(first, IPv6Address) and (first.scope_id or first.ipv4_mapped):
        raise ValueError(f"{shown(text)} is not a network that others can reach; write one such as fd00:30::/64")
    if not slash:
        raise ValueError(f"{shown(text)} lacks its prefix length; for one address write {loose}")
    if loose.network_address != first:
        raise ValueError(f"{shown(text)} has host bits set; did you mean {loose}?")
    return loose


def _prefix(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise ValueError(text)
    return int(text)


def parse_address(text: str) -> Address:
    """One unicast address without a scope."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IPv4 or IPv6 address; write one such as 10.30.0.10") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{shown(text)} has a scope; write an address that others can reach")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise ValueError(f"{shown(text)} is an IPv4-mapped IPv6 address; write {address.ipv4_mapped}")
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        raise ValueError(f"{shown(text)} is not the address of a host; write one such as 10.30.0.10")
    return address


def parse_host(text: str) -> str:
    """An address, compressed, or a DNS name in lower case without its last dot."""
    if re.fullmatch(r"[0-9.]+", text) or (":" in text and is_address(text)):
        return str(parse_address(text))
    if text[:1] == "[" and text[-1:] == "]" and is_address(text[1:-1]):
        raise ValueError(f"{shown(text)} is not a host; write {text[1:-1]}, in quotes and without brackets")
    if _RANGE.fullmatch(text):
        raise ValueError(f"{shown(text)} is a range of addresses; write each address, or each host's name, by itself")
    if "/" in text or ":" in text:
        raise ValueError(f"{shown(text)} is not a host; write one address or DNS name and nothing else")
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _HEXADECIMAL.fullmatch(name):
        raise ValueError(
            f"{shown(text)} is a number, which some programs take for an address; write one such as 10.30.0.21"
        )
    if len(name) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(
            f"{shown(text)} is not an address or a DNS name; write one such as 10.30.0.21 or db.prod.internal"
        )
    return name


def parse_instant(text: str) -> datetime:
    """An RFC 3339 time with its zone, in UTC."""
    try:
        if not text.isascii():
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a time; write one such as 2027-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        better = f"{text}T00:00:00Z" if len(text) == _DATE_ONLY else f"{text}Z"
        raise ValueError(f"{shown(text)} has no time zone; write {better} for UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{shown(text)} is beyond the calendar; write one such as 2027-01-31T00:00:00Z") from None


def parse_timezone(text: str) -> str:
    """The name of a time zone that this machine knows."""
    if not _ZONE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a time zone; write one such as Europe/Berlin")
    zone(text)
    return text


def parse_cron(text: str) -> str:
    """Cron's five fields."""
    if len(text) > 200:  # noqa: PLR2004 - longer than any schedule that a person can read
        raise ValueError(f"{shown(text)} is too long for a cron expression; {CRON_IS}")
    try:
        Cron.parse(text)
    except ValueError as error:
        raise ValueError(f"{error}; {CRON_IS}") from error
    return text


def parse_end(text: str) -> tuple[str, str | Network]:
    """An environment, "" where none is named, and what of it: a member, a network, or "" for all of it."""
    name = re.compile(r"[a-z][a-z0-9-]*")
    environment, _, member = text.partition(".")
    if name.fullmatch(environment) and is_range(member):
        return environment, _parse_range(member)
    if is_range(text):
        return "", _parse_range(text)
    if not name.fullmatch(environment) or ("." in text and not name.fullmatch(member)):
        raise ValueError(f"{shown(text)} is not {END_IS}; write one such as prod, prod.db or 10.30.0.0/24")
    return environment, member


def is_range(text: str) -> bool:
    """Whether a text is meant to be an address or a network, not a name."""
    return "/" in text or ":" in text or re.fullmatch(r"[0-9.]+", text) is not None


def _parse_range(text: str) -> Network:
    if "/" in text:
        return parse_network(text)
    address = parse_address(text)
    return ip_network(f"{address}/{address.max_prefixlen}")


FORMATS: Mapping[str, Callable[[str], Any]] = {
    "address": parse_address,
    "cron": parse_cron,
    "duration": parse_duration,
    "end": parse_end,
    "host": parse_host,
    "instant": parse_instant,
    "network": parse_network,
    "ports": parse_ports,
    "spread": parse_spread,
    "timezone": parse_timezone,
}
