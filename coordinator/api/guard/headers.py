"""What every answer tells a browser: run nothing but our own files, be framed by nobody, take nothing for what it is not."""

from __future__ import annotations

from aiohttp import web

# Trusted types: a text that is put into the page as markup is an error there, not a script.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"


async def hardened(_: web.Request, response: web.StreamResponse) -> None:
    """Of aiohttp's `on_response_prepare`: errors and streams have them, too."""
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Content-Security-Policy"] = PAGE_POLICY if response.content_type == "text/html" else OTHER_POLICY
    headers.setdefault("Cache-Control", "no-store")
