"""The overview in a real browser: what it says, live, of what others named, by keyboard, at two widths."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.show.grid import by_pair, counted, headline, live, pair_cell
from coordinator.api import views
from reachability.vocabulary import Sensitivity
from tests.browser.chromium import Page, browser
from tests.support import sample
from tests.support.page_coordinator import PageCoordinator

SENTENCE = "(document.getElementById('sentence')?.textContent ?? '')"
STRANGE = "<script>document.title='run'</script>\"'&amp;<img src=x onerror=alert(1)>\u202egnp.exe\u2066\u200b"


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[PageCoordinator]:
    made = PageCoordinator(tmp_path / "state", sample.Estate(leak=True, undecided=True))
    with made.running():
        yield made


async def opened(page: Page, coordinator: PageCoordinator, path: str = "#/") -> None:
    await page.look(1280)
    await page.go(f"{coordinator.url}/{path}")


@pytest.mark.asyncio
async def test_it_says_what_the_terminal_says(tmp_path: Path, coordinator: PageCoordinator) -> None:
    estate = coordinator.estate
    matrix, coverage = views.matrix(estate.topology, estate.cells), views.coverage_body(estate.topology, estate.cells)
    findings = views.findings(estate.topology, estate.book.findings)
    async with browser(tmp_path) as page:
        await opened(page, coordinator)
        await page.sees("document.querySelector('.matrix')")
        assert await page.run(SENTENCE) == f"FAIL 1 finding · {counted(coverage, 4)}"
        cells = await page.run(
            "[...document.querySelectorAll('.matrix td a')].map(a => [a.title, [...a.querySelectorAll('.part')].map(p => "
            "[...p.childNodes].map(n => n.querySelector?.('[aria-hidden]')?.textContent ?? n.textContent).join(''))])"
        )
        entries = by_pair(coverage)
        assert dict(cells) == {
            f"{pair.source} → {pair.destination}": [
                text
                for text, _ in pair_cell(
                    pair.results,
                    entries.get((pair.source, pair.destination)),
                    live(findings, (pair.source, pair.destination)),
                )
            ]
            for pair in matrix.pairs
        }
        assert headline(findings[0]) in await page.text(".findings")
        agents = await page.run("[...document.querySelectorAll('.agents tbody tr')].map(r => r.innerText)")
        assert [("connected" in text, "lost" in text) for text in agents] == [
            (True, False),
            (False, True),
            *[(True, False)] * 2,
        ]
        assert page.problems == []


@pytest.mark.asyncio
async def test_a_leak_that_is_closed_and_a_coordinator_that_restarts_need_no_reload(tmp_path: Path) -> None:
    coordinator = PageCoordinator(tmp_path / "state", sample.Estate(leak=True))
    async with browser(tmp_path) as page:
        with coordinator.running():
            await opened(page, coordinator)
            await page.sees(f"{SENTENCE}.startsWith('FAIL')")
            await page.run("window.same = true")
            await asyncio.to_thread(coordinator.leak, False)
            await page.sees(f"{SENTENCE}.startsWith('PASS')")
            assert "no finding stands" in await page.run("document.body.innerText")
        said = await page.sees("!document.getElementById('gone').hidden && document.getElementById('gone').textContent")
        assert "coordinator gone since" in said
        assert "; the picture is of 12:0" in said
        assert await page.run("document.body.classList.contains('gone')")
        with coordinator.running():
            await page.sees("document.getElementById('gone').hidden")
            await asyncio.to_thread(coordinator.leak, True)
            await page.sees(f"{SENTENCE}.startsWith('FAIL')")
            assert await page.run("window.same"), "it was loaded again"


@pytest.mark.asyncio
async def test_what_others_named_is_shown_as_it_is_and_runs_nothing(tmp_path: Path) -> None:
    estate = sample.Estate()
    dev = estate.topology.environments["dev"]
    long = "n" * 65_536
    named = replace(estate.topology, file=STRANGE + long, environments={**estate.topology.environments, STRANGE: replace(dev, name=STRANGE, agents={}, services={}, sensitivity=Sensitivity.LOW)})  # fmt: skip
    estate.topology = named
    found = estate.book.findings[0]
    estate.book._all[found.id] = replace(
        found, identified=STRANGE + long, acknowledged_by="olga", acknowledged_reason=STRANGE
    )
    coordinator = PageCoordinator(tmp_path / "state", estate)
    with coordinator.running():
        async with browser(tmp_path) as page:
            await opened(page, coordinator)
            await page.sees("document.querySelector('.matrix')")
            heads = await page.run("[...document.querySelectorAll('.matrix th[scope=row]')].map(h => h.textContent)")
            assert STRANGE in heads
            assert STRANGE + long in await page.text(".facts")
            await page.look(390)
            wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && e.scrollWidth > innerWidth).map(e => e.outerHTML.slice(0, 80))"
            assert await page.run(wide) == []
            for path in (f"#/finding/{found.id}", f"#/pair/dev/{json.dumps(STRANGE)[1:-1]}", f"#/{STRANGE}"):
                await page.run(f"location.hash = {json.dumps(path)}")
                await page.sees("document.querySelector('h1') && !document.body.innerText.includes('asking')")
                if "finding" in path:
                    await page.sees("document.querySelector('.story')")
                    told = await page.text(".story")
                    assert STRANGE + long in told
                    assert f"by olga: {STRANGE}" in told
            assert await page.run("document.querySelectorAll('main script, main img').length") == 0
            assert await page.run("document.title") != "run"
            assert page.problems == []


@pytest.mark.asyncio
async def test_by_the_keyboard_alone_a_pair_is_found_and_its_cell_is_explained(
    tmp_path: Path, coordinator: PageCoordinator
) -> None:
    async with browser(tmp_path) as page:
        await opened(page, coordinator)
        await page.sees("document.querySelector('.matrix')")
        assert await page.run("document.querySelectorAll('.matrix a[tabindex=\"0\"]').length") == 1
        for _ in range(12):
            await page.press("Tab")
            if await page.run("document.activeElement.closest('.matrix') !== null"):
                break
        focused = "document.activeElement.title"
        assert await page.run(focused) == "dev → test"
        for key, pair in (
            ("ArrowRight", "dev → staging"),
            ("ArrowDown", "test → staging"),
            ("ArrowDown", "prod → staging"),
            ("ArrowUp", "test → staging"),
            ("ArrowRight", "test → prod"),
        ):
            await page.press(key)
            assert await page.run(focused) == pair
        await asyncio.to_thread(coordinator.leak, False)
        await page.sees(f"{SENTENCE}.startsWith('PASS') || {SENTENCE}.startsWith('UNPROVEN')")
        assert await page.run(focused) == "test → prod", "what is drawn anew takes nobody's place away"
        await page.press("Enter")
        await page.sees("document.querySelector('.cells')")
        assert (await page.text("h1")).startswith("test → prod: ")
        assert await page.run("location.hash") == "#/pair/test/prod"
        await page.run("document.querySelector('.cells a').focus()")
        await page.press("Enter")
        story = await page.text(".story")
        assert all(part in story for part in ("declared", "round", "control", "witness"))
        assert page.problems == []


@pytest.mark.asyncio
async def test_what_is_said_of_signs_makes_no_narrow_page_wider(tmp_path: Path) -> None:
    coordinator = PageCoordinator(tmp_path / "state", sample.Estate())
    with coordinator.running():
        async with browser(tmp_path) as page:
            await page.look(300)
            await page.go(coordinator.url)
            await page.sees("document.querySelector('.matrix .heard')")
            assert await page.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.asyncio
@pytest.mark.parametrize("width", [1280, 390])
async def test_forty_environments_are_read_with_heads_in_sight_and_a_filter(tmp_path: Path, width: int) -> None:
    estate = sample.Estate()
    many = {f"environment-{number:02}": replace(estate.topology.environments["dev"], name=f"environment-{number:02}", agents={}, services={}) for number in range(36)}  # fmt: skip
    estate.topology = replace(estate.topology, environments={**estate.topology.environments, **many})
    coordinator = PageCoordinator(tmp_path / "state", estate)
    with coordinator.running():
        async with browser(tmp_path) as page:
            await page.look(width)
            await page.go(coordinator.url)
            await page.sees("document.querySelectorAll('.matrix tbody tr').length === 40")
            assert await page.run("document.documentElement.scrollWidth <= innerWidth"), (
                "the page itself does not scroll sideways"
            )
            await page.run("document.querySelector('.scroll').scrollTo(400, 600)")
            where = await page.run(
                "(() => { const box = document.querySelector('.scroll').getBoundingClientRect();"
                " const of = (s) => document.querySelector(s).getBoundingClientRect();"
                " return [of('.matrix thead th:last-child').top - box.top, of('.matrix tbody tr:last-child th').left - box.left] })()"
            )
            assert max(map(abs, where)) < 3
            await page.run("document.getElementById('filter').focus()")
            await page.type("environment-07")
            await page.sees("document.querySelectorAll('.matrix tbody tr').length === 1")
            await page.run("document.getElementById('filter').select()")
            await page.type("dev")
            await page.run("document.getElementById('open').click()")
            rows = "[...document.querySelectorAll('.matrix tbody th')].map(h => h.textContent).join()"
            await page.sees(f"{rows} === 'dev'")
            assert page.problems == []


@pytest.mark.asyncio
async def test_who_hears_it_is_told_in_a_table_with_heads_and_a_sentence_that_speaks(
    tmp_path: Path, coordinator: PageCoordinator
) -> None:
    async with browser(tmp_path) as page:
        await opened(page, coordinator)
        await page.sees("document.querySelector('.matrix')")
        tree = (await page.ask("Accessibility.getFullAXTree"))["nodes"]
        said = [
            (node.get("role", {}).get("value"), node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"]
        ]
        roles = [role for role, _ in said]
        assert roles.count("columnheader") == 5 + 8
        assert roles.count("rowheader") == 4 + 4
        assert ("link", "fails: 1 path") in [(role, " ".join(name.split())) for role, name in said]
        assert await page.run("document.getElementById('sentence').getAttribute('aria-live')") == "polite"
        unnamed = [
            role
            for role, name in said
            if role in {"link", "button", "searchbox", "checkbox", "region", "table"} and not name.strip()
        ]
        assert unnamed == ["table"], "that of the agents is named by its heading"
