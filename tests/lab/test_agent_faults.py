"""Faults of segwatch's own side: agents that die, see nothing or may not send, a coordinator that restarts."""

from __future__ import annotations

import pytest

from lab.system import CORE_HOST, PORT, System
from tests.lab.small import (
    AGENTS,
    PROD,
    PROD2,
    PROD6,
    REG,
    REG6,
    TO_APP,
    WITNESSED,
    assert_honest,
    assert_others_proven,
    at,
    running,
    under_way,
    verify,
)
from tests.lab.truth import CellId

pytestmark = pytest.mark.lab


def test_the_targets_agent_is_dead() -> None:
    with running([TO_APP]) as system:
        system.kill("prod-1")
        outcome = verify(system)
        opened = at("dev-1", PROD, "tcp", 8000)

        def touched(cell: CellId) -> bool:
            return cell[0] == "prod-1" or (cell[2] in {PROD, PROD6} and cell[3] == "udp" and cell[4] != 9000)

        assert_honest(outcome, touched, opened=opened.__contains__)
        assert {e["result"] for c, e in outcome.cells.items() if c[0] == "prod-1"} == {"not-run"}
        # The service answers inside and the firewall drops: that is shown without the witness, and no packet is not claimed.
        assert outcome.says("dev-1", PROD, "tcp", 22)[1:3] == ("no-session", "controlled")
        assert outcome.says("dev-1", PROD, "tcp", 8000)[0] == "fail"
        assert [a["state"] for a in outcome.body["agents"] if a["name"] == "prod-1"] == ["lost"]
        assert outcome.code == 1


def test_the_sources_agent_is_dead() -> None:
    with running() as system:
        system.kill("dev-1")
        outcome = verify(system)
        # The only agent of dev is also its only witness, and nobody controls its host from inside.
        assert_honest(outcome, lambda cell: cell[0] == "dev-1" or cell[2] in AGENTS["dev-1"])
        assert {e["result"] for c, e in outcome.cells.items() if c[0] == "dev-1"} == {"not-run"}
        assert outcome.code == 3


def test_the_sources_own_output_filter_drops() -> None:
    with running() as system:
        system.estate.nft(
            "dev-1",
            "table inet own { chain out { type filter hook output priority 0; tcp dport { 22, 80, 443 } drop\n}\n}\n",
        )
        outcome = verify(system)

        def touched(cell: CellId) -> bool:
            return cell[0] == "dev-1" and cell[3] == "tcp" and cell[4] in {22, 80, 443}

        assert_honest(outcome, touched)
        assert {e["reason"] for c, e in outcome.cells.items() if touched(c)} == {"local-filter"}
        assert outcome.code == 3


def test_the_capture_has_no_permission() -> None:
    with running([TO_APP], drop_caps={"prod-1": ("net_raw",), "dev-1": ("net_raw",)}) as system:
        outcome = verify(system)
        opened = at("dev-1", PROD, "tcp", 8000)

        def touched(cell: CellId) -> bool:
            blind_source = cell[0] in {"dev-1", "prod-1"}
            blind_witness = cell[2] in {*AGENTS["prod-1"], *AGENTS["dev-1"]} and (
                (cell[3] == "udp" and cell[4] != 9000) or cell[2] in AGENTS["dev-1"]
            )
            return blind_source or blind_witness

        green = [
            (c, e["row"], e["reason"])
            for c, e in outcome.cells.items()
            if e["result"] == "pass" and c[0] in {"dev-1", "prod-1"} and c[2] not in WITNESSED
        ]
        assert not green
        assert outcome.cell("dev-1", PROD, "tcp", 8000)["result"] != "pass"
        assert outcome.says("dev-1", REG, "tcp", 22)[4] in {"no-permission", "refused-by-someone"}
        assert outcome.says("stage-1", PROD, "udp", 53)[0] == "inconclusive"
        del touched, opened
        lacks = {a["name"]: a["lacks"] for a in outcome.body["agents"]}
        assert "CAP_NET_RAW" in lacks["dev-1"]
        assert lacks["stage-1"] is None
        assert outcome.says("stage-1", PROD2, "tcp", 22)[:2] == ("pass", "blocked")


def listens(system: System) -> bool:
    """Whether anything does at the broker's port."""
    return f":{PORT} " in system.estate.run(CORE_HOST, ["ss", "-Hltn"]).check().stdout


def test_the_coordinator_restarts_in_the_middle() -> None:
    with running([TO_APP]) as system:
        with under_way(system) as asked:
            system.kill("coordinator")
            system.wait_for(lambda: not listens(system), "the broker's end")
            system.start_coordinator()
            outcome = asked.result()
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        assert outcome.code == 1


@pytest.mark.parametrize("victim", ["prod-1", "dev-1"])
def test_an_agent_dies_in_the_middle(victim: str) -> None:
    with running([TO_APP]) as system:
        with under_way(system) as asked:
            system.kill(victim)
            outcome = asked.result()

        def touched(cell: CellId) -> bool:
            controlled = victim == "prod-1" and cell[2] in {REG, REG6}  # from inside, by the one that died
            return cell[0] == victim or cell[2] in AGENTS[victim] or controlled

        opened = at("dev-1", PROD, "tcp", 8000)
        assert outcome.cells[next(iter(opened))]["result"] != "pass"
        assert not [c for c, e in outcome.cells.items() if e["result"] == "fail" and c not in opened]
        assert_others_proven(outcome, lambda cell: touched(cell) or cell in opened)
        # What the dead one alone could show is not green.
        alone = [e for c, e in outcome.cells.items() if c[0] == victim and e["result"] == "pass"]
        assert all(e["observed_at"] and e["proof"] != "none" for e in alone)
        assert outcome.code in {1, 3}
