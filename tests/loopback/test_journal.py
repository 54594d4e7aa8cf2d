"""What is logged of a round carries its id, at the coordinator and at both agents: one search finds all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from cli.commands.coordinator import open_log
from tests.loopback.captured import System
from wire.messages import Go


@pytest.mark.asyncio
async def test_lines_of_a_round_carry_its_id_on_both_sides(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_log(as_json=True, verbose=True)
    try:
        system = System(tmp_path)
        async with system.running("dev-1", "prod-1"):
            await system.verify()
    finally:
        structlog.reset_defaults()
    coordinator = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    rounds = {order["round"] for order in system.orders("dev-1") if order["type"] == Go.__struct_config__.tag}
    assert rounds
    done = {line["round"] for line in coordinator if line["event"] == "round"}
    assert done == rounds
    found = [line for line in coordinator if line["event"] == "finding"]
    assert all(line["round"] in rounds for line in found)
    source = [
        line for line in system.log("dev-1") if line["event"] in {"order", "round"} and line.get("kind") != "stop"
    ]
    assert {line["round"] for line in source} == rounds
    assert {line["event"] for line in source} == {"order", "round"}
    witness = [line for line in system.log("prod-1") if line["event"] == "order"]
    assert {line["round"] for line in witness} == rounds
    assert [line["kind"] for line in witness] == ["arm", "close"] * len(rounds)
    for lines in (coordinator, system.log("dev-1")):
        elsewhere = [
            line for line in lines if line["event"] in {"agent", "acknowledged", "connected", "coordinator serves"}
        ]
        assert elsewhere
        assert not any("round" in line for line in elsewhere), "and what belongs to none carries none"
