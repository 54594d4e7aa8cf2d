"""`python -m tests.golden`: writes anew what is made of the kept observations; the diff is the review.

`python -m tests.golden record [NAME …]` makes the observations anew, on real packets in the lab.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from coordinator.state.reports import round_data
from coordinator.store import Report, Store
from lab.system import System
from tests.golden.recording import FINDINGS, HERE, INTO, Group, as_text, judged, write
from tests.golden.scenarios import SCENARIOS
from tests.lab.small import running


def record(name: str) -> None:
    """Run a scenario, and keep what its agents reported."""
    scenario = SCENARIOS[name]
    with running(scenario.rules, text=scenario.topology, services=scenario.services) as system:
        scenario.before(system)
        system.verify("--to", INTO)
        system.stop("coordinator")
        groups = kept(system)
    write(HERE / name, scenario.topology, groups)
    print(f"{name}: {len(groups)} rounds, {sum(map(len, groups))} with their follow-ups")


def kept(system: System) -> list[Group]:
    """The rounds that the store holds, as they were concluded, in their order; packets are left out."""
    store = Store(system.directory / "state")
    try:
        names = {judged.round for _, _, judged in store.cells()}
        held = [store.group_of(name) for name in sorted(names, key=store.began)]
    finally:
        store.close()
    return [
        [round_data(spec, armed, [_without_packets(report) for report, _ in reports]) for spec, armed, reports in group]
        for group in held
    ]


def _without_packets(report: Report) -> Report:
    return replace(report, kept=())


def main(arguments: list[str]) -> int:
    """Record where that is asked for; then judge all."""
    if arguments[:1] == ["record"]:
        for name in arguments[1:] or SCENARIOS:
            record(name)
    for name in SCENARIOS:
        (HERE / name / FINDINGS).write_text(as_text(judged(HERE / name)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
