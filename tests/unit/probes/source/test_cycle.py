"""When a source sends, waits and ends, on virtual time and a network that is a function: a packet to the delay of its answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from probes import clock
from probes.packets.parse import Packet
from probes.path.legs import MOST_TTL
from probes.protocols import udp_payloads
from probes.source.cycle import Source
from probes.sweep.raw import SweepSource
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Role, State
from tests.support.network import OPEN_PORT, about, play, target


def test_asyncio_keeps_to_the_clock_that_packets_are_stamped_by() -> None:
    async def reads() -> float:
        return clock.monotonic()

    before = time.monotonic()
    assert before <= asyncio.run(reads()) <= time.monotonic()


@pytest.mark.parametrize(
    ("kind", "rtt_s", "tail_s"),
    [(Source, 0.0004, 2.0), (Source, 0.3, 2.0), (Source, 0.55, 2.2), (SweepSource, 0.0004, 2.0)],
)
def test_witnesses_listen_for_two_seconds_or_four_round_trips_after_the_last_copy(
    kind: type[Source], rtt_s: float, tail_s: float
) -> None:
    ran = play(lambda packet: rtt_s if packet.dport == OPEN_PORT else None, kind=kind)
    assert ran.states() == {"22": State.FILTERED, str(OPEN_PORT): State.OPEN}
    assert ran.listen_until == about(ran.at(22)[-1] + tail_s)


@pytest.mark.parametrize(
    ("role", "delay_s", "state"),
    [
        (Role.SOURCE, 0.55, State.OPEN),
        (Role.SOURCE, 0.65, State.FILTERED),
        (Role.INSIDE, 0.25, State.OPEN),
        (Role.INSIDE, 0.35, State.FILTERED),
    ],
)
def test_the_last_copy_has_its_time_to_be_answered(role: Role, delay_s: float, state: State) -> None:
    last = 3 if role is Role.INSIDE else 6  # as many copies as there are where no control answers
    seen: list[Packet] = []

    def answers(packet: Packet) -> float | None:
        seen.extend([packet] if packet.dport == 22 else ())
        return delay_s if len(seen) == last else None

    ran = play(answers, targets=(target("22"),), role=role, copies=3)
    assert len(seen) == last
    assert ran.states() == {"22": state}
    assert ran.ended <= ran.at(22)[-1] + 0.62


def test_a_round_of_which_all_is_known_ends_at_once() -> None:
    ran = play(lambda _: 0.0004)
    assert set(ran.states().values()) == {State.OPEN}
    assert ran.ended < 0.01


def test_what_goes_first_goes_slowly() -> None:
    """A burst to every well-known port would be lost, or taken for an attack."""
    pings = tuple(target("", n, f"10.30.1.{n}", Protocol.ICMP) for n in range(1, 65))
    ran = play(lambda _: 0.0004, targets=pings)
    assert ran.sent[63][0] == pytest.approx(56 / 600, rel=0.05)
    again = play(lambda _: 0.0004, targets=pings, role=Role.INSIDE)
    assert again.sent[63][0] < 0.01, "who has no boundary between need not"


def test_a_source_gives_up_after_a_quarter_of_an_hour() -> None:
    ran = play(targets=(target("1-200"),), agent_pps=1)
    assert ran.report.problems == ("stopped after 900 s and 5 copies",)
    assert ran.ended == pytest.approx(5 * 200, abs=3.0)
    assert {o.sent for o in ran.report.observations} == {5}


@pytest.mark.parametrize(("agent_pps", "round_pps"), [(50, 0), (100_000, 50)])
def test_a_rate_holds_from_the_first_packet_to_the_last(agent_pps: int, round_pps: int) -> None:
    ran = play(targets=(target("1-100"),), agent_pps=agent_pps, round_pps=round_pps)
    times = [at for at, _ in ran.sent]
    assert sum(packet.ttl > MOST_TTL for _, packet in ran.sent) == 600
    for index in range(len(times) - 50):
        assert times[index + 50] - times[index] >= 0.97, "fifty a second"


def test_a_sweep_waits_for_room_and_resets_what_nobody_answered() -> None:
    """Of a bound of 400 flows two batches of 200 take all; the third goes when the first was reset and is forgotten."""
    ran = play(kind=SweepSource, targets=(target("1-600"),), agent_pps=10_000, flows=400, copies=1, most_copies=1)
    opened = [at for at, packet in ran.sent if packet.is_syn]
    resets = [at for at, packet in ran.sent if not packet.is_syn]
    assert (len(opened), opened[399] < 1.0) == (600, True)
    assert resets[0] == pytest.approx(2.0, abs=0.2)
    assert 12.0 <= opened[400] <= 13.3, "routers keep what was closed for ten seconds"
    assert ran.listen_until == about(max(opened[-1], resets[-1]) + 2.0)


def test_where_no_witness_looks_for_a_token_every_copy_is_what_a_service_of_the_port_answers() -> None:
    """Else one datagram of several would decide, the kernel's: to a resolver a token is noise, dropped or not."""
    asked = play(targets=(target("53,9000", protocol=Protocol.UDP),))
    payloads = {port: [p.payload for _, p in asked.sent if p.dport == port] for port in (53, 9000)}
    assert set(payloads[53]) == {udp_payloads.REQUESTS[53]}
    assert len(payloads[53]) >= 4
    assert len(set(payloads[9000])) == len(payloads[9000]), "a token each"
    watched = play(targets=(replace(target("53", protocol=Protocol.UDP), witness="prod-1"),))
    assert udp_payloads.REQUESTS[53] not in [p.payload for _, p in watched.sent]


def answering(packet: Packet) -> float | None:
    return 0.01 if packet.dport == OPEN_PORT else None


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_what_is_beside_the_cells_goes_out_in_every_pass_and_asks_for_none(kind: type[Source]) -> None:
    """Answered or not: its witness's last copy speaks for the passes before it. Of the pair it says nothing."""
    ports = "22,1000-1300"
    beside = replace(target(str(OPEN_PORT), 2, "10.20.0.10"), beside=True, witness="stage-1")
    ran = play(answering, kind=kind, targets=(target(ports), beside))
    copies = len(ran.at(22))
    assert copies >= 3
    assert len(ran.at(OPEN_PORT)) == copies, "a copy a pass, and no control"
    assert ran.states()[str(OPEN_PORT)] is State.OPEN
    alone = play(answering, targets=(target(str(OPEN_PORT)), replace(beside, ports=PortSet.of([81]))))
    assert len(alone.at(81)) == 1, "nothing is left to be asked after the first pass"
