"""An agent of another schema version is refused in words at both ends; one whose messages merely hold more or less works."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.api import agents
from tests.loopback.captured import System
from tests.support.answers import json_of
from tests.support.waiting import until


@pytest.mark.asyncio
@pytest.mark.parametrize("schema", [0, 2])
async def test_an_agent_of_another_version_is_refused_in_words_on_both_sides(tmp_path: Path, schema: int) -> None:
    system = System(tmp_path)
    async with system.running("prod-1"):
        async with system.agent("dev-1", f"schema={schema}"):
            await until(lambda: system.daemon.estate.agents["dev-1"].problem)
            estate = system.daemon.estate
            (shown,) = (
                a for a in json_of(agents.agents_body(estate.agents.values(), estate.clock())) if a["name"] == "dev-1"
            )
            assert shown["problem"] == (
                f"the message has schema version {schema}, this segwatch speaks 1: upgrade the older of the two"
            )
            assert shown["state"] != "connected"
            await until(lambda: any(line["event"] == "refused" for line in system.log("dev-1")))
            (why,) = {line["why"] for line in system.log("dev-1") if line["event"] == "refused"}
            assert (
                why == f"the message has schema version 1, this segwatch speaks {schema}: upgrade the older of the two"
            )
        async with system.agent("dev-1"):
            await until(lambda: system.daemon.estate.agents["dev-1"].online)
            assert not system.daemon.estate.agents["dev-1"].problem, "once it is upgraded, all is well"
