"""How a name is looked up once, by a resolver that may hang."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from dns.flags import Flag
from dns.message import from_wire, make_query, make_response
from dns.rrset import from_text

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


def answer(*records: str) -> bytes:
    made = make_response(make_query("db.prod.internal", "A"))
    made.answer = [from_text("db.prod.internal.", 60, *record.split(" ", 2)) for record in records]
    return made.to_wire()


def test_addresses_are_those_of_the_answer_section() -> None:
    assert dns.addresses(answer("IN A 10.30.0.21", "IN AAAA fd00::21", "IN TXT x")) == ("10.30.0.21", "fd00::21")
    assert dns.addresses(answer("CH TXT x", "IN CNAME a.b.")) == ()


def test_what_is_not_whole_ends_the_list() -> None:
    whole = answer("IN A 10.30.0.21", "IN AAAA fd00::21")
    assert dns.addresses(whole[:-3]) == ("10.30.0.21",)
    assert dns.addresses(whole[:11]) == dns.addresses(b"") == ()


def test_the_version_is_asked_for_as_a_library_asks() -> None:
    asked = from_wire(dns.VERSION)
    assert [str(line) for line in asked.question] == ["version.bind. CH TXT"]
    assert asked.flags == Flag.RD


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".internal", ".".join(["y" * 60] * 5)])
def test_what_can_be_no_name_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name that DNS can have"):
        dns.query(name, "A")
