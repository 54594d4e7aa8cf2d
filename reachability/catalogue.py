"""The ports that are probed on every host whatever is declared: what ML platforms and intruders use."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from reachability.ports import PortSet
from reachability.topology import PortSpec
from reachability.vocabulary import Protocol


@cache
def names() -> dict[Protocol, dict[int, str]]:
    """Port to the name of its usual service, by protocol, from the shipped `catalogue.json`."""
    raw = json.loads(files("reachability").joinpath("catalogue.json").read_text("utf-8"))
    return {Protocol(protocol): {int(port): name for port, name in ports.items()} for protocol, ports in raw.items()}


@cache
def ports() -> PortSpec:
    """The catalogue as a port spec; ICMP belongs to every cycle."""
    return PortSpec(PortSet.of(names()[Protocol.TCP]), PortSet.of(names()[Protocol.UDP]), icmp=True)


# Ports whose usual service speaks TLS from the first byte on.
TLS_PORTS = PortSet.of([443, 636, 853, 993, 995, 2376, 5671, 6443, 8443, 8883, 9443, 10250])
