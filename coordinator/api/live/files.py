"""The page's own files. What is not in the list is not served; a path is looked up in it and never on the disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

PLACE = Path(__file__).parent.parent / "pages"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = (
    "index.html",
    "style.css",
    "icon.svg",
    "agents.js",
    "app.js",
    "explain.js",
    "findings.js",
    "live.js",
    "login.js",
    "matrix.js",
    "overview.js",
    "page.js",
    "pair.js",
    "words.js",
)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is answered; `tag` is its ETag."""

    data: bytes
    kind: str
    tag: str


def read(name: str) -> File:
    """One of `FILES`."""
    data = (PLACE / name).read_bytes()
    return File(data, _TYPES[Path(name).suffix], hashlib.sha256(data).hexdigest()[:32])


def routes() -> list[web.RouteDef]:
    """`/`, and every other file under `/page/`."""
    found = {("/" if name == "index.html" else f"/page/{name}"): read(name) for name in FILES}
    return [web.get(path, partial(_answer, file=file)) for path, file in found.items()]


async def _answer(request: web.Request, *, file: File) -> web.Response:
    # A browser asks each time whether it is still the same: after an upgrade no page is half old.
    headers = {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if any(tag.value in {file.tag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.data, content_type=file.kind, charset="utf-8", headers=headers)
