"""What a DNS server on 127.0.0.1 is asked about a name, and what comes of its answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from dns.message import from_wire, make_response
from dns.rcode import NXDOMAIN
from dns.rrset import RRset, from_text

from agent.name_origins import Origins, Said, by_dns
from reachability.observation import Lookup
from reachability.vocabulary import NameOrigin
from tests.support.waiting import HANG_S

RECORDS = {
    ("web.prod.internal.", "A"): (
        ("web.prod.internal.", 300, "CNAME", "lb.prod.internal."),
        ("lb.prod.internal.", 30, "A", "10.30.0.5"),
    ),
    ("six.prod.internal.", "AAAA"): (("six.prod.internal.", 60, "AAAA", "fd00:30::5"),),
}


@contextmanager
def server(records: dict[tuple[str, str], tuple[tuple[str, int, str, str], ...]]) -> Iterator[int]:
    """Its port; a name that begins with `*.` answers all below it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, peer = sock.recvfrom(4096)
                if data == b"end":
                    return
                query = from_wire(data)
                asked, kind = query.question[0].name.to_text(), query.question[0].rdtype.name
                found = records.get((asked, kind)) or records.get((f"*.{asked.partition('.')[2]}", kind), ())
                reply = make_response(query)
                reply.answer = [_record(asked, *record) for record in found]
                if not found and not any(name == asked for name, _ in records):
                    reply.set_rcode(NXDOMAIN)
                sock.sendto(reply.to_wire(), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"end", sock.getsockname())
            thread.join(HANG_S)


def _record(asked: str, name: str, ttl: int, kind: str, value: str) -> RRset:
    return from_text(asked if name.startswith("*.") else name, ttl, "IN", kind, value)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "resolv.conf"
    file.write_text("search prod.internal\nnameserver 127.0.0.1\n")
    return file


def test_a_name_with_its_ttl_and_the_whole_name_that_was_asked_for(config: Path) -> None:
    with server(RECORDS) as port:
        ask = partial(by_dns, config=config, port=port)
        assert ask("web", "A", True) == Said("web.prod.internal", ("10.30.0.5",), 30)
        assert ask("web.prod.internal", "A", False) == Said("web.prod.internal", ("10.30.0.5",), 30)
        assert ask("six.prod.internal", "AAAA", True) == Said("six.prod.internal", ("fd00:30::5",), 60)
        assert ask("six.prod.internal", "A", False) is None
        assert ask("none.prod.internal", "A", False) is None
        assert ask("web", "A", False) is None


def test_a_wildcard_is_told_from_a_record(config: Path, tmp_path: Path) -> None:
    records = {**RECORDS, ("*.prod.internal.", "A"): (("*.prod.internal.", 5, "A", "10.30.0.9"),)}
    with server(records) as port:
        origins = Origins(partial(by_dns, config=config, port=port), tmp_path / "hosts")
        misspelt = origins.of(Lookup(name="wbe.prod.internal", addresses=("10.30.0.9",)))
        meant = origins.of(Lookup(name="web", addresses=("10.30.0.5",)))
    assert (misspelt.origin, misspelt.wildcard) == (NameOrigin.DNS, "*.prod.internal")
    assert (meant.origin, meant.full_name, meant.wildcard) == (NameOrigin.DNS, "web.prod.internal", "")


@pytest.mark.parametrize("text", ["", "nameserver 127.0.0.1\n"])
def test_where_no_server_answers_nothing_is_known(text: str, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]  # bound, and nobody reads: silence
        with pytest.raises(OSError, match="^DNS: "):
            by_dns("web.prod.internal", "A", False, file, port)


def test_no_file_and_no_name_are_errors_in_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="^DNS: "):
        by_dns("web", "A", True, tmp_path / "missing")
    with pytest.raises(OSError, match="^DNS: "):
        by_dns("a..b", "A", True, tmp_path / "missing")
