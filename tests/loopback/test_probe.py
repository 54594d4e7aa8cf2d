"""`segwatch probe` against real sockets on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import HANG_S

SEGWATCH = Path(sys.executable).parent / "segwatch"


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SEGWATCH, "probe", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)


def body(*arguments: str) -> dict[str, object]:
    done = probe(*arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def listener() -> Iterator[int]:
    """Says who it is to everybody who connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2 * HANG_S)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 here I am\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_open_port(listener: int) -> None:
    found = body("tcp", f"127.0.0.1:{listener}")
    assert (found["state"], found["reason"], found["way"]) == ("open", "syn-ack", "raw+connect")
    assert found["note"] == "220 here I am (15 bytes)"
    said = probe("tcp", f"127.0.0.1:{listener}").stdout
    assert said.startswith("open")
    assert max(map(len, said.splitlines())) <= 100


def test_a_closed_port_in_both_families() -> None:
    for target in ("127.0.0.1:9", "[::1]:9"):
        found = body("tcp", target)
        assert (found["state"], found["reason"], found["kernel"]) == ("closed", "reset", "refused")


def test_udp_and_icmp() -> None:
    assert body("udp", "127.0.0.1:9")["reason"] == "port-unreach"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        found = body("udp", f"127.0.0.1:{silent.getsockname()[1]}")
        assert (found["state"], found["reason"]) == ("open|filtered", "no-response")
    for address in ("127.0.0.1", "::1"):
        assert body("icmp", address)["reason"] == "echo-reply"


def test_tls_that_fails_is_an_open_port_with_a_note(listener: int) -> None:
    found = body("tls", f"127.0.0.1:{listener}")
    assert found["state"] == "open"
    assert str(found["note"]).startswith("TLS failed")
    assert found["said"] is None
    assert ssl.HAS_TLSv1_3


def test_names_resolve_first() -> None:
    assert body("dns", "localhost")["state"] == "open"
    for kind, target in (
        ("tcp", "no-such-host.invalid:22"),
        ("icmp", "no-such-host.invalid"),
        ("dns", "no-such-host.invalid"),
    ):
        found = body(kind, target)
        assert (found["state"], found["reason"]) == ("error", "resolve-failed")


@pytest.mark.parametrize(
    "arguments", [("tcp", "127.0.0.1"), ("tcp", "::1:22"), ("tcp", "h:0"), ("ftp", "x"), ("dns", "a@b")]
)
def test_bad_usage_is_one_message_and_exit_code_2(arguments: tuple[str, str]) -> None:
    done = probe(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[1] in done.stderr or arguments[0] in done.stderr
