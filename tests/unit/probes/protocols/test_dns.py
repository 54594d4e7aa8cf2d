"""How a name is looked up once, by a resolver that may hang."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from probes.protocols import dns
from tests.support.waiting import HANG_S


def test_a_resolver_that_hangs_holds_up_neither_the_answer_nor_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    release, left = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(HANG_S)
        left.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert asyncio.run(dns.resolve("slow", 0.01)) == ((), "no answer within 0.01 s")
        assert not left.is_set(), "the loop has ended without it"
    finally:
        release.set()
        assert left.wait(HANG_S)
