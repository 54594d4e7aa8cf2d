"""A job of any size is done in parts of a bounded number of cells; one report comes of it."""

from __future__ import annotations

import asyncio

import pytest

from probes.source import parts
from probes.source.job import Job
from probes.source.parts import MOST_CELLS, cut, merged
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State
from tests.support import virtual


def target(number: int, ports: str = "1-65535", protocol: Protocol = Protocol.TCP) -> Target:
    return Target(
        id=number, environment="prod", address=f"10.30.0.{number}", protocol=protocol, ports=PortSet.parse(ports)
    )


def job(*targets: Target) -> Job:
    return Job(round="r", key=bytes(16), targets=targets)


def observed(one: Target) -> Observation:
    return Observation(
        target=one.id,
        source_address="10.10.0.10",
        address=one.address,
        protocol=one.protocol,
        ports=one.ports,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
    )


class Source:
    """Sends at once, and ends when it is told to."""

    def __init__(self, part: Job, log: list[str], last: asyncio.Event) -> None:
        self.part, self.log, self.last = part, log, last
        self.sent = asyncio.Event()

    async def run(self) -> tuple[SourceReport, float]:
        name = self.part.targets[0].id
        self.log.append(f"{name} sends")
        self.sent.set()
        await self.last.wait()
        self.log.append(f"{name} ends")
        observations = tuple(map(observed, self.part.targets))
        return SourceReport(
            round="r", agent="a", observations=observations, packets=name, problems=("slow",)
        ), 1.0 * name


def test_parts_hold_every_target_once_and_no_more_cells_than_they_may() -> None:
    whole = job(*(target(n) for n in range(1, 12)), target(12, "", Protocol.ICMP))
    made = list(cut(whole))
    assert [t for part in made for t in part.targets] == list(whole.targets)
    assert all(sum(len(t.ports) for t in part.targets) <= MOST_CELLS for part in made)
    assert [len(part.targets) for part in made] == [4, 4, 4]


def test_what_fits_is_one_part() -> None:
    assert [part.targets for part in cut(job(target(1)))] == [(target(1),)]
    assert [part.targets for part in cut(job())] == [()]


def test_a_part_waits_for_its_answers_while_the_next_one_sends() -> None:
    log: list[str] = []

    async def main() -> tuple[SourceReport, float]:
        last = asyncio.Event()

        def source_of(part: Job) -> Source:
            if part.targets[0].id == 9:
                last.set()
            return Source(part, log, last)

        return await parts.run(job(*(target(n) for n in range(1, 10))), source_of)  # type: ignore[arg-type]

    report, tail_s = asyncio.run(main())
    assert log[:2] == ["1 sends", "5 sends"]
    assert sorted(log[2:]) == ["1 ends", "5 ends", "9 ends", "9 sends"]
    assert [o.address for o in report.observations] == [f"10.30.0.{n}" for n in range(1, 10)]
    assert (report.packets, report.problems, tail_s) == (1 + 5 + 9, ("slow",), 9.0)


def test_a_part_that_fails_fails_the_job() -> None:
    class Broken(Source):
        async def run(self) -> tuple[SourceReport, float]:
            self.sent.set()
            raise ValueError("no such thing")

    async def main() -> None:
        await parts.run(job(target(1)), lambda part: Broken(part, [], asyncio.Event()))  # type: ignore[arg-type,return-value]

    with pytest.raises(ValueError, match="no such thing"):
        asyncio.run(main())


def test_parts_that_overlap_take_as_long_as_they_take_together() -> None:
    """A witness that listened for so long listened for all of it."""

    class Slow(Source):
        async def run(self) -> tuple[SourceReport, float]:
            await asyncio.sleep(1.0)
            self.sent.set()
            await asyncio.sleep(9.0)
            return SourceReport(round="r", agent="a", duration_s=10.0), 2.0

    async def main() -> SourceReport:
        whole = job(*(target(n) for n in range(1, 10)))
        report, _ = await parts.run(whole, lambda part: Slow(part, [], asyncio.Event()))  # type: ignore[arg-type,return-value]
        return report

    assert virtual.run(main()).duration_s == pytest.approx(12.0, abs=0.01)


def test_one_report_stays_as_it_is() -> None:
    report = SourceReport(round="r", agent="a")
    assert merged([report]) is report


def test_of_what_hosts_are_away_the_least_of_all_parts_is_reported() -> None:
    """A part that saw a shorter way back speaks for all of them."""
    hops = [{"10.30.0.1": 3}, {"10.30.0.1": 2, "10.30.0.2": 1}, {"10.30.0.1": 4}]
    made = merged([SourceReport(round="r", agent="a", host_hops=each, least_hops=each) for each in hops])
    assert made.least_hops == {"10.30.0.1": 2, "10.30.0.2": 1}
