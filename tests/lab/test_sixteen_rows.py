"""A sealed boundary of sixteen hosts and every TCP port is sixteen rows: as reported, in the store and in the matrix."""

from __future__ import annotations

import pytest

from coordinator.store import Store
from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from reachability.observation import SourceReport
from reachability.vocabulary import Protocol
from tests.lab.columns import spans
from tests.lab.truth import BRISK

HOSTS = 16
MOST_OF_ALL = 65_000  # ports: all but the cycle's
PROD = tuple(f"10.30.0.{10 + n}" for n in range(HOSTS))
TOPOLOGY = f"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {{dev-1: {{addresses: [10.10.0.10]}}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {{prod-1: {{addresses: [{", ".join(PROD)}]}}}}
probing: {{{BRISK}, every: 365d, sweep: {{every: 365d, ports: [tcp/1-65535]}}, rate_pps: 250000, flows: 1000000000}}
"""


@pytest.mark.lab
@pytest.mark.soak
def test_sixteen_closed_hosts_are_sixteen_rows() -> None:
    dev, prod = Host("dev-1", ("10.10.0.10/24",)), Host("prod-1", tuple(f"{address}/24" for address in PROD))
    segments = (CORE_SEGMENT, Segment("dev", ("10.10.0.0/24",), (dev,)), Segment("prod", ("10.30.0.0/24",), (prod,)))
    with Estate(Plan(segments)) as estate:
        system = System(estate, TOPOLOGY, {"dev-1": "dev-1", "prod-1": "prod-1"})
        system.deploy()
        code, body = system.verify("--sweep", "--cells", "--from", "dev", "--to", "prod")
        system.stop("coordinator")
        store = Store(system.directory / "state")
        try:
            rows = [(key, ports, judged) for key, ports, judged in store.cells() if judged.schedule == "sweep"]
            groups = [store.group_of(name) for name in {judged.round for _, _, judged in rows}]
        finally:
            store.close()
    assert code == 0
    wide = [
        entry
        for entry in body["cells"]
        if entry["protocol"] == "tcp" and sum(high - low + 1 for low, high in spans(entry["ports"])) > MOST_OF_ALL
    ]
    assert len(wide) == len(rows) == HOSTS
    assert {key.address for key, _, _ in rows} == set(PROD)
    assert all(len(ports or ()) > MOST_OF_ALL for _, ports, _ in rows)
    reported = [
        o
        for group in groups
        for _, _, reports in group
        for r, _ in reports
        if isinstance(r, SourceReport)
        for o in r.observations
    ]
    assert len([o for o in reported if o.protocol is Protocol.TCP]) == HOSTS
