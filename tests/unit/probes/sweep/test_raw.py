"""Which targets are swept by columns, and which go cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probes.source.job import Job
from probes.sweep.raw import SweepSource
from reachability.ports import PortSet
from reachability.vocabulary import Protocol
from tests.support.sweep_frames import KEY, target


@pytest.mark.parametrize(
    ("ports", "first", "protocol", "fits"),
    [
        ("1-65535", "", Protocol.TCP, True),
        ("1-256", "", Protocol.UDP, True),
        ("1-255", "", Protocol.TCP, False),
        ("1-65535", "22", Protocol.TCP, False),  # what goes first goes slowly, and through the kernel too
        ("", "", Protocol.ICMP, False),
    ],
)
def test_sweeps_go_by_columns_and_cycles_cell_by_cell(ports: str, first: str, protocol: Protocol, fits: bool) -> None:
    one = replace(target(4, protocol, PortSet.parse(ports)), first=PortSet.parse(first))
    assert SweepSource.fits(Job(round="R1", key=KEY, targets=(one,))) is fits
