"""Jobs in parts of a bounded number of cells, so that what the child needs does not grow with what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from probes.clock import monotonic
from probes.source.cycle import Source
from probes.source.job import Job
from reachability.observation import SourceReport, Target

MOST_CELLS = 262_144
T = TypeVar("T")


async def run(job: Job, source_of: Callable[[Job], Source]) -> tuple[SourceReport, float]:
    """Do a job; as `Source.run`. While one part waits for its last answers, the next one sends."""
    running, began = [], monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            for part in cut(job):
                source = source_of(part)
                running.append(group.create_task(source.run(), name=f"part of {job.round}"))
                await source.sent.wait()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # what it was, for the report
    reports, tails_s = zip(*(task.result() for task in running), strict=True)
    # The parts overlap: a witness need not have listened for the sum of them.
    return replace(merged(reports), duration_s=round(monotonic() - began, 3)), tails_s[-1]


def cut(job: Job) -> Iterator[Job]:
    """The parts, of whole targets each."""
    part: list[Target] = []
    room = MOST_CELLS
    for target in job.targets:
        cells = len(target.ports)
        if part and cells > room:
            yield replace(job, targets=tuple(part))
            part, room = [], MOST_CELLS
        part.append(target)
        room -= cells
    yield replace(job, targets=tuple(part))


def merged(reports: Sequence[SourceReport]) -> SourceReport:
    """One report of all parts."""
    if len(reports) == 1:
        return reports[0]
    hops: dict[str, int] = {}
    least: dict[str, int] = {}
    for report in reports:
        hops |= report.host_hops
        least |= {address: min(near, least.get(address, near)) for address, near in report.least_hops.items()}
    return replace(
        reports[0],
        observations=_all(report.observations for report in reports),
        controls=_all(report.controls for report in reports),
        canaries=_all(report.canaries for report in reports),
        kernel_flows=_all(report.kernel_flows for report in reports),
        host_hops=hops,
        least_hops=least,
        legs={address: legs for report in reports for address, legs in report.legs.items()},
        packets=sum(report.packets for report in reports),
        captured=sum(report.captured for report in reports),
        uncaptured=sum(report.uncaptured for report in reports),
        problems=tuple(dict.fromkeys(_all(report.problems for report in reports))),
        kept=_all(report.kept for report in reports),
    )


def _all(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(chain.from_iterable(parts))
