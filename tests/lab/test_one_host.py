"""Two agents of different environments on one host: what each sends is not the other's, and between them nothing can be shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.services import serve
from tests.lab.small import AGENTS, DEV, PROD, PROD2, SERVICES, STAGE, TO_APP, Outcome, plan, topology, verify
from tests.lab.story import told

pytestmark = pytest.mark.lab

OTHER = "10.50.0.10"  # of a second environment, on dev-1's host
DECLARED = f"  other:\n    networks: [10.50.0.0/24]\n    agents:\n      other-1: {{addresses: [{OTHER}]}}\n  stage:"


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    with Estate(plan([TO_APP])) as estate:
        estate.run("dev-1", ["ip", "addr", "add", f"{OTHER}/32", "dev", "lo"]).check()
        estate.run("router", ["ip", "route", "add", f"{OTHER}/32", "via", DEV]).check()
        for host, ports in SERVICES.items():
            serve(estate, host, ports)
        agents = {**{agent: agent for agent in AGENTS}, "other-1": "dev-1"}
        system = System(estate, topology().replace("  stage:", DECLARED, 1), agents)
        system.deploy()
        with told(system):
            system.wait_for(lambda: system.connected() >= set(agents), "the agents")
            yield verify(system)


def test_between_the_two_nothing_is_known_and_it_says_why(outcome: Outcome) -> None:
    between = {
        (entry["result"], entry["reason"])
        for (agent, _, address, _, _), entry in outcome.cells.items()
        if (agent, address) in {("dev-1", OTHER), ("other-1", DEV)}
    }
    assert between == {("inconclusive", "own-host")}


def test_each_of_them_has_its_own_cells_as_if_it_were_alone(outcome: Outcome) -> None:
    for agent, source in ("dev-1", DEV), ("other-1", OTHER):
        mine = {
            cell: entry
            for cell, entry in outcome.cells.items()
            if cell[:2] == (agent, source) and cell[2] in {PROD, PROD2, STAGE}
        }
        leaks = {cell[2:] for cell, entry in mine.items() if entry["result"] == "fail"}
        assert leaks == ({(PROD, "tcp", 8000)} if agent == "dev-1" else set())
        required = [entry for cell, entry in mine.items() if entry["required"] and cell[2:] not in leaks]
        assert len(required) > 150  # noqa: PLR2004 - a catalogue for each of three hosts
        assert sum(entry["result"] == "pass" for entry in required) >= 0.98 * len(required)  # noqa: PLR2004


def test_as_a_witness_each_speaks_for_its_own_address(outcome: Outcome) -> None:
    for address in DEV, OTHER:
        said = {outcome.says("prod-1", address, "tcp", port)[:3] for port in (22, 8080)}
        assert said == {("pass", "blocked", "witnessed")}
