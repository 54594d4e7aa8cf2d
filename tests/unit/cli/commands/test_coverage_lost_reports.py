"""What a person reads of reports that were lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from cli.dashboard.app import Dashboard, Picture
from cli.formats.terminal import report
from cli.show.losses import lost_line
from cli.show.render import Paint
from coordinator.api import agents, views
from coordinator.store import Losses
from tests.support.sample import AGENTS, NOW, STARTED, Estate


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("bytes", "its spool was full"),
        ("age,disk", "it could not send them for too long, its disk was full"),
        ("gone", "it does not say why"),
        ("unknown", "of rounds that the coordinator knows nothing of"),
        ("a\x1b[2Jword of later", "a·[2Jword of later"),
    ],
)
def test_why_is_said_in_words(why: str, said: str) -> None:
    body = agents.losses_body(Losses(1, 1, 1_700_000_000.0, 1_700_000_000.0, why))
    assert lost_line("dev-1", body) == f"dev-1: 1 report lost, made 2023-11-14 22:13:20 UTC ({said})"


def test_verify_says_what_was_lost_during_its_run_alone() -> None:
    body = Estate().run_body()
    losses = {
        "dev-1": Losses(9, 9, STARTED - 100, STARTED - 1, "bytes"),
        "prod-1": Losses(2, 2, STARTED - 100, STARTED + 1, "disk"),
    }
    roster = agents.agents_body(AGENTS, NOW.timestamp(), losses)
    body = replace(body, result=replace(body.result, agents=roster))
    told = [line for line in report(body, Paint(color=False)) if "lost" in line]
    assert len(told) == 1
    assert told[0].startswith("! agent prod-1: 2 reports lost, made ")


@pytest.mark.asyncio
async def test_the_dashboard_counts_them_on_the_agents_line_and_says_why() -> None:
    estate = Estate()

    picture = Picture(
        estate.status(losses={"dev-1": Losses(5, 7, 1.0, 2.0, "age")}),
        views.matrix(estate.topology, estate.cells),
        views.coverage_body(estate.topology, estate.cells),
    )

    class Reader:
        def get(self, path: str, _: object, /, **__: object) -> Any:
            return {"status": picture.status, "matrix": picture.matrix, "coverage": picture.coverage}.get(path, ())

    app = Dashboard(Reader(), every_s=0)
    async with app.run_test(size=(120, 40)) as pilot:
        app.draw(picture)
        await pilot.pause()
        lines = str(app.query_one("#agents").render()).splitlines()
    assert [found.group() if (found := re.search(r"\d+ lost( \(.*\))?", line)) else "" for line in lines] == [
        "7 lost (it could not send them for too long)",
        "",
        "",
        "",
    ]
