"""Debian's Chromium without a window, steered by the protocol of its own tools: no driver, no library, no download."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.waiting import HANG_S, until

PROGRAM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}


class Page:
    """A tab. `problems` has every exception, error on the console and breach of the page's policy."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.problems: list[str] = []

    async def listen(self) -> None:
        """Take what the browser says, until it hangs up."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                if not (waiting := self._waiting.pop(said["id"])).done():  # nobody waits any more
                    waiting.set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] in {"error", "warning"}:
                self.problems.append(json.dumps(said["params"]["entry"]))
            elif said["method"] == "Audits.issueAdded" and "ContentSecurityPolicy" in said["params"]["issue"]["code"]:
                self.problems.append(json.dumps(said["params"]["issue"]))

    async def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(HANG_S):
            said = await self._waiting[number]
        assert "error" not in said, said
        return said["result"]

    async def begin(self) -> None:
        for domain in ("Page", "Runtime", "Log", "Audits", "Network"):
            await self.ask(f"{domain}.enable")

    async def go(self, url: str) -> None:
        """Open an address; what it shows comes later."""
        await self.ask("Page.navigate", url=url)

    async def run(self, expression: str) -> Any:
        """The value of an expression, or of its promise; true for a node. The page's policy knows nothing of it."""
        whole = f"Promise.resolve({expression}).then((value) => value instanceof Node ? true : value)"
        said = await self.ask("Runtime.evaluate", expression=whole, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def sees(self, expression: str, within_s: float = HANG_S) -> Any:
        """The first true value of an expression; one that cannot be evaluated yet is false."""
        value: Any = None
        try:
            async with asyncio.timeout(within_s):
                tried = f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()"
                while not (value := await self.run(tried)):  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise AssertionError(f"it never came to {expression}; the page shows:\n{shown}\n{self.problems}") from None
        return value

    async def text(self, selector: str) -> str:
        """The text of a place."""
        return str(await self.sees(f"document.querySelector({json.dumps(selector)})?.textContent"))

    async def press(self, key: str) -> None:
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    async def type(self, text: str) -> None:
        await self.ask("Input.insertText", text=text)

    async def look(self, width: int, height: int = 800, *, dark: bool = False, paper: bool = False) -> None:
        """How large the window is, and which of the user's wishes the page is told."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def shoot(self, path: Path) -> None:
        """A picture of the whole page."""
        shot = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Page]:
    """A page of a browser that has nothing but an empty folder of its own."""
    assert PROGRAM, "chromium is not installed: make browser does that"
    command = [PROGRAM, *FLAGS, f"--user-data-dir={directory}", "about:blank"]
    with (directory / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        told = directory / "DevToolsActivePort"
        await until(lambda: told.exists() and told.read_text().count("\n") or process.returncode is not None)
        assert process.returncode is None, (directory / "chromium.log").read_text()
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                place = next(one for one in await answer.json() if one["type"] == "page")["webSocketDebuggerUrl"]
            async with session.ws_connect(place, max_msg_size=0) as socket, asyncio.TaskGroup() as group:
                page = Page(socket)
                listening = group.create_task(page.listen(), name="browser")
                try:
                    await page.begin()
                    yield page
                finally:
                    listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
