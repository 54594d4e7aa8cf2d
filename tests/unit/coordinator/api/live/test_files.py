"""The page's own files: those of the list, as they are, and nothing else."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from coordinator.api.guard.headers import hardened
from coordinator.api.live.files import FILES, PLACE, read, routes

TEXTS = {name: (PLACE / name).read_text("utf-8") for name in FILES}


def ask(path: str, **headers: str) -> web.Response:
    async def answered() -> Any:
        app = web.Application()
        app.add_routes(routes())
        app.freeze()
        request = make_mocked_request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        found = await app.router.resolve(request)
        response = await found.handler(request)
        await hardened(request, response)
        return response

    response = asyncio.run(answered())
    assert isinstance(response, web.Response)
    return response


def test_all_files_there_are_in_the_list_and_the_other_way_round() -> None:
    assert {path.name for path in PLACE.iterdir() if path.name != "__pycache__"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_with_its_type_and_is_not_sent_twice(name: str) -> None:
    path = "/" if name == "index.html" else f"/page/{name}"
    response = ask(path)
    assert response.body == (PLACE / name).read_bytes()
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert response.content_type == kinds[name.rpartition(".")[2]]
    tag = response.headers["ETag"]
    again = ask(path, If_None_Match=tag)
    assert (again.status, again.body, again.headers["ETag"]) == (304, None, tag)
    assert ask(path, If_None_Match='"another"').status == 200


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/../app.js", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page//etc/passwd", "/page/index.html", "/page/app.js/",
     "/page/app.js%00", "/page/APP.JS", "/page/__init__.py", "/index.html", "/page/..\\app.py", "//page/app.js"],
)  # fmt: skip
def test_nothing_else_is_served(path: str) -> None:
    with pytest.raises(web.HTTPNotFound):
        ask(path)


def test_the_page_may_run_its_own_files_alone() -> None:
    headers = ask("/").headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_what_is_no_page_may_run_nothing() -> None:
    headers = ask("/page/icon.svg").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_no_file_loads_from_elsewhere_or_takes_text_for_markup(name: str) -> None:
    text = TEXTS[name]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc", text
    )
    assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|\sstyle=|javascript:", text)


def test_what_a_module_imports_is_there() -> None:
    for name, text in TEXTS.items():
        for imported in re.findall(r'from "(.+?)"', text):
            assert imported.removeprefix("./") in FILES, f"{name} imports {imported}"


def test_an_etag_tells_one_content_from_another() -> None:
    assert len({read(name).tag for name in FILES}) == len(FILES)
