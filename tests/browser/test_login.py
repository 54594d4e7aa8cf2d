"""Where others can reach it: the token is taken once, and what the browser keeps is no script's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.chromium import browser
from tests.support import sample
from tests.support.page_coordinator import PageCoordinator
from tests.support.web_certificate import issue, make_ca


@pytest.mark.asyncio
async def test_the_token_is_asked_for_once_and_a_restart_asks_for_none(tmp_path: Path) -> None:
    certificate = issue(make_ca(tmp_path / "pki"), tmp_path, "127.0.0.1")
    coordinator = PageCoordinator(tmp_path / "state", sample.Estate(), certificate=certificate)
    async with browser(tmp_path) as page:
        await page.ask("Security.setIgnoreCertificateErrors", ignore=True)
        with coordinator.running():
            await page.go(coordinator.url)
            await page.sees("document.activeElement.id === 'token'")
            assert not await page.run("document.body.innerText.includes('FAIL')")
            await page.type("not the token")
            await page.press("Enter")
            await page.sees("document.querySelector('main [role=alert]').textContent.includes('this is not the token')")
            await page.run("document.getElementById('token').select()")
            await page.type(coordinator.token)
            await page.press("Enter")
            await page.sees("document.getElementById('sentence')?.textContent.startsWith('FAIL')")
            assert await page.run("document.cookie") == ""
            cookies = (await page.ask("Network.getCookies"))["cookies"]
            assert [
                (c["name"], c["httpOnly"], c["secure"], c["sameSite"], coordinator.token in c["value"]) for c in cookies
            ] == [("__Host-segwatch", True, True, "Strict", False)]
        with coordinator.running():
            await page.sees("document.getElementById('gone').hidden")
            await asyncio.to_thread(coordinator.leak, False)
            await page.sees("document.getElementById('sentence')?.textContent.startsWith('PASS')")
            await page.run("document.querySelector('#session button').click()")
            await page.sees("document.getElementById('token')")
            assert (await page.ask("Network.getCookies"))["cookies"] == []
