"""The packets of a sweep, one by one and as a ring gives them."""

from __future__ import annotations

import numpy as np
import pytest

from probes.packets.build import Template
from probes.packets.columns import Columns, split
from probes.packets.parse import IPV4, IPV6, PACKET_HOST
from probes.packets.rx_ring import SNAP, Batch
from probes.packets.token import token
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol

KEY = bytes(range(16))
ENDS = {4: ("10.10.0.10", "10.30.0.10"), 6: ("fd00:10::10", "fd00:30::10")}
PORTS = PortSet.parse("1-300,1000,65000-65535")
FAMILIES = pytest.mark.parametrize("family", [4, 6])
PROTOCOLS = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])


def target(family: int, protocol: Protocol, ports: PortSet = PORTS) -> Target:
    return Target(id=7, environment="prod", address=ENDS[family][1], protocol=protocol, ports=ports, witness="prod-1")


def batch(family: int, frames: list[bytes], pkttype: int = PACKET_HOST, interface: int = 2) -> Batch:
    data = np.zeros((len(frames), SNAP), np.uint8)
    for row, frame in enumerate(frames):
        data[row, : len(frame)] = np.frombuffer(frame[:SNAP], np.uint8)
    count = len(frames)
    return Batch(
        data=data,
        length=np.array([min(SNAP, len(frame)) for frame in frames], np.uint32),
        ethertype=np.full(count, IPV4 if family == 4 else IPV6, np.uint16),
        interface=np.full(count, interface, np.int32),
        pkttype=np.full(count, pkttype, np.uint8),
        at=np.full(count, 1.0),
    )


def columns_of(family: int, frames: list[bytes], pkttype: int = PACKET_HOST, interface: int = 2) -> Columns:
    [columns] = split(batch(family, frames, pkttype, interface))
    return columns


def copies(
    family: int, protocol: Protocol, ports: list[int], copy: int, source: str = "", sport: int = 40000
) -> list[bytes]:
    here, there = ENDS[family]
    template = Template(source or here, there, protocol)
    return [template.build(sport, port, token(KEY, there, protocol, port, copy)) for port in ports]


def answers(family: int, protocol: Protocol, ports: list[int], flags: int, sport: int = 40000) -> list[bytes]:
    """What the host sends back to the source: a segment with these flags, or a datagram."""
    here, there = ENDS[family]
    template = Template(there, here, protocol)
    at = (20 if family == 4 else 40) + 13
    made = []
    for port in ports:
        frame = bytearray(template.build(port, sport, bytes(8)))
        if protocol is Protocol.TCP:
            frame[at] = flags
        made.append(bytes(frame))
    return made
