"""Which controls a job sends, and from where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from probes.context import Station
from probes.gate import Gate
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import Packet
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.route import Route
from probes.source.control_sender import ControlSender
from probes.source.controls import Controls
from probes.source.cycle import Source
from probes.source.job import Job
from probes.sweep.raw import SweepSource
from reachability.observation import ControlTarget, Target
from reachability.ports import PortSet
from reachability.vocabulary import ControlKind, Protocol
from tests.support.network import END, OPEN_PORT, OWN, ROUTE, play, target
from tests.support.virtual import run

SECOND = "10.10.0.12"
PAIR = ControlTarget(address=END, protocol=Protocol.TCP, port=80, kind=ControlKind.PAIR, source=SECOND)


def test_no_control_looks_like_a_copy_of_a_cell_of_another_of_the_agents_addresses() -> None:
    """A token does not tell source addresses apart: a witness that is asked about the one would take it for its copy."""
    other = replace(target("22", 2), source=SECOND)
    elsewhere = replace(PAIR, port=81)
    ran = play(targets=(target("22,80"), other), controls=(PAIR, elsewhere), ways=_from_both)
    assert {(c.port, c.source_address) for c in ran.report.controls} == {(81, SECOND)}


def test_a_control_at_a_cell_that_its_own_address_probes_as_well_is_told_apart() -> None:
    both = (target("22,80"), replace(target("22,80", 2), source=SECOND))
    ran = play(targets=both, controls=(PAIR,), ways=_from_both)
    assert {(c.port, c.source_address) for c in ran.report.controls} == {(80, SECOND)}


def test_an_open_port_that_the_round_does_not_try_tells_how_far_its_host_is() -> None:
    """In a sweep the cycle's ports are controls alone: by their distance a RST of the path is told from the host's."""
    ran = play(
        lambda _: 0.001, targets=(target("22"),), controls=(replace(PAIR, source=OWN),), resets=lambda p: p.dport == 22
    )
    assert ran.report.host_hops == {END: 2}
    ran = play(lambda _: 0.001, targets=(target("22"),), resets=lambda p: p.dport == 22)
    assert ran.report.host_hops == {}


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_ways_back_of_unequal_length_are_seen_by_the_resets_of_one_port(kind: type[Source]) -> None:
    """A copy has a source port of its own, and with it a way back: told over controls and cells, in a cycle and in a sweep."""

    def uneven(packet: Packet) -> int:
        return 2 + (packet.sport + packet.dport) % 2

    def even(packet: Packet) -> int:
        return 2 + packet.dport % 2

    rows = (target("22-330"),)
    ran = play(lambda _: 0.001, kind=kind, targets=rows, resets=lambda _: True, hops=uneven)
    assert (ran.report.host_hops, ran.report.least_hops) == ({}, {END: 2})
    ran = play(lambda _: 0.001, kind=kind, targets=rows, resets=lambda _: True, hops=even)
    assert ran.report.least_hops == {}
    ran = play(lambda _: 0.001, kind=kind, targets=rows, resets=lambda p: p.dport != OPEN_PORT, hops=uneven)
    assert ran.report.least_hops == {END: 2}, "an open port's answers are told apart as well"


def _from_both(_: str, source: str) -> tuple[Route, ...]:
    return (replace(ROUTE, source=source or OWN),)


INSIDE, OUTSIDE, INSIDE_6 = "10.10.0.200", "10.99.0.2", "fd00:10::200"


class Routes:
    async def lookup(self, destination: str, source: str) -> tuple[Route, ...]:
        return (Route("eth0", "10.10.0.1", source or OWN, b"\x02" * 6),)


def laid_out(
    *controls: ControlTarget, networks: tuple[str, ...] = ("10.10.0.0/24", "fd00:10::/64")
) -> tuple[list[str], list[str]]:
    """The addresses of the controls that are sent, and the problems."""

    async def scene() -> tuple[list[str], list[str]]:
        routes: Any = Routes()
        station = Station(Bucket(1000), Flows(), routes, "dev-1", FlowBound(50_000), gate=Gate(None))
        targets = tuple(
            Target(
                id=n,
                environment="prod",
                address=address,
                protocol=Protocol.TCP,
                ports=PortSet.parse("22"),
                source=source,
            )
            for n, (address, source) in enumerate((("10.30.0.10", OWN), ("fd00:30::10", "fd00:10::10")), 1)
        )
        job = Job(round="r", key=b"k" * 16, targets=targets, networks=networks, controls=controls)
        made = Controls()
        sender = ControlSender(station, job, made)
        await sender.lay_out()
        return [series.address for series in made.series], sender.problems

    return run(scene())


def control(address: str, kind: str = ControlKind.COORDINATOR) -> ControlTarget:
    return ControlTarget(address=address, protocol=Protocol.TCP, port=8883, kind=kind)


@pytest.mark.parametrize(
    "kind", [ControlKind.COORDINATOR, ControlKind.DECLARED, ControlKind.MEETING, ControlKind.OUTSIDE, "new"]
)
@pytest.mark.parametrize("address", [INSIDE, INSIDE_6])
def test_a_control_in_the_own_environment_is_none_and_that_is_said(address: str, kind: str) -> None:
    sent, problems = laid_out(control(address, kind), control(OUTSIDE))
    assert sent == [OUTSIDE]
    assert problems == [f"{address} is in the source's own environment: it controls nothing"]


def test_what_answers_on_the_pair_shows_a_ban_wherever_it_is() -> None:
    """Two environments may have the same addresses."""
    assert laid_out(control(INSIDE, ControlKind.PAIR)) == ([INSIDE], [])


def test_where_no_environment_is_declared_all_are_outside() -> None:
    assert laid_out(control(INSIDE), networks=()) == ([INSIDE], [])
