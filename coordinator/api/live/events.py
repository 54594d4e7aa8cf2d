"""`GET /api/v1/events`: the page's bodies as server-sent events, again as soon as they change.

Each event is a whole body, named `status`, `matrix`, `coverage` or `findings`: who was away gets by `Last-Event-ID` what is
another meanwhile, and has missed nothing. `beat` says every few seconds what time it is here, and that what came last still stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from coordinator.api.auth import ApiError
from coordinator.api.live.picture import EVERY_S, Picture
from coordinator.json_types import iso

PATH = "/api/v1/events"
MOST = 32  # streams at a time
MOST_S = 300.0  # then a reader asks anew, and is asked anew who it is
BEAT_S = 5.0
WRITE_S = 10.0  # who does not read for so long is gone
AGAIN_MS = 1000  # when a browser comes back


class Events:
    """The streams of one picture; `clock` gives epoch seconds, `steady` seconds that never jump."""

    def __init__(self, picture: Picture, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._picture, self._clock, self._steady = picture, clock, steady
        self._streams = 0

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer with events for `MOST_S`, or until the reader is gone."""
        if self._streams >= MOST:
            raise ApiError(503, f"{MOST} pages are open already; close one of them")
        self._streams += 1
        try:
            return await self._answer(request)
        finally:
            self._streams -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        try:
            await response.prepare(request)
            await self._tell(response, request.headers.get("Last-Event-ID", ""))
        except (ConnectionError, TimeoutError):
            response.force_close()
        return response

    async def _tell(self, response: web.StreamResponse, last: str) -> None:
        began = self._steady()
        text, beat_at = f"retry: {AGAIN_MS}\n\n".encode(), began
        while (now := self._steady()) - began < MOST_S:
            if now >= beat_at:
                beat_at = now + BEAT_S
                text += b'event: beat\ndata: {"now":"%s"}\n\n' % (iso(self._clock()) or "").encode()
            self._picture.look()
            if changed := self._picture.since(last):
                last = self._picture.id
                # The id comes with the last of them: who has half of it asks for all of it again.
                text += b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), data) for name, data in changed[:-1])
                name, data = changed[-1]
                text += b"id: %s\nevent: %s\ndata: %s\n\n" % (last.encode(), name.encode(), data)
            if text:
                async with asyncio.timeout(WRITE_S):
                    await response.write(text)
                text = b""
            await asyncio.sleep(EVERY_S)
