"""Where the coordinator says that it is, and what new bundles have of it."""

import errno
from pathlib import Path

import pytest

from coordinator.broker.addresses import FOUND_AT, Listen, Whereabouts, cannot_listen


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("203.0.113.5", "203.0.113.5", 8883, "203.0.113.5:8883"),
        ("203.0.113.5:18883", "203.0.113.5", 18883, "203.0.113.5:18883"),
        ("2001:db8::5", "2001:db8::5", 8883, "[2001:db8::5]:8883"),
        ("[2001:db8::5]", "2001:db8::5", 8883, "[2001:db8::5]:8883"),
        ("[2001:db8::5]:18883", "2001:db8::5", 18883, "[2001:db8::5]:18883"),
        ("segwatch.example.net", "segwatch.example.net", 8883, "segwatch.example.net:8883"),
        ("segwatch:443", "segwatch", 443, "segwatch:443"),
    ],
)
def test_what_is_advertised_has_a_port_or_that_of_the_broker(text: str, host: str, port: int, shown: str) -> None:
    found = Listen.advertised(text, 8883)
    assert (found.endpoint, str(found)) == ((host, port), shown)


@pytest.mark.parametrize(
    "text", ["", "0.0.0.0", "[::]:8883", "host:0", "host:port", "a b", "mqtts://host", "-x", "a..b", "::1::2"]
)
def test_what_names_no_host_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not "):
        Listen.advertised(text, 8883)


def test_the_certificate_names_what_is_advertised_too() -> None:
    assert Listen("10.0.0.10", 8883, ("203.0.113.5", "segwatch.example.net", "10.0.0.10")).hosts() == (
        "10.0.0.10", "203.0.113.5", "segwatch.example.net",
    )  # fmt: skip
    assert Listen("0.0.0.0", 8883, ("203.0.113.5",)).hosts()[-1] == "203.0.113.5"  # noqa: S104


def test_word_of_where_it_is_reads_back_and_what_cannot_be_read_is_no_word(tmp_path: Path) -> None:
    left = Whereabouts("mqtts://203.0.113.5:8883", ("203.0.113.5",))
    left.leave(tmp_path)
    assert Whereabouts.of(tmp_path) == left
    (tmp_path / FOUND_AT).write_text("{")
    assert Whereabouts.of(tmp_path) == Whereabouts.of(tmp_path / "nowhere") == Whereabouts("", ())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EADDRINUSE, "error while attempting to bind on address ('10.0.0.1', 8883): in use"),
            "Address already in use. Stop what listens there (ss -ltnp 'sport = :8883' shows it), or name another port",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "x"),
            "Cannot assign requested address. Name an address of this host (ip address",
        ),
        (OSError(errno.EACCES, "x"), "Permission denied. Ports below 1024 need root or CAP_NET_BIND_SERVICE"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("something else"), "something else"),
    ],
)
def test_what_cannot_listen_says_why_and_what_to_do(error: OSError, words: str) -> None:
    assert cannot_listen("the broker", ("10.0.0.1", 8883), error).startswith(
        f"the broker cannot listen on 10.0.0.1 port 8883: {words}"
    )
