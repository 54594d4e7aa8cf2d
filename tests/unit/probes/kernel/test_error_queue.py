"""Answers of neighbours, servers and the kernel that no honest one gives. Each of them ended a probe, or misled it."""

import struct
from ipaddress import ip_address

import pytest

from probes.child.protocol import FromChild, Unframer
from probes.host import netlink
from probes.kernel import error_queue
from probes.kernel.error_queue import next_refusal
from probes.packets.build import is_at, who_has
from probes.protocols.tls import describe
from tests.fuzz.targets.replies import _certificates

HERE, THERE, MAC = "10.30.0.10", "10.30.0.21", b"\2\0\0\0\0\7"


def arp(length: int = 6) -> bytes:
    question, _ = who_has(MAC, THERE, HERE)
    return question[:4] + bytes((length,)) + question[5:7] + b"\2" + question[8:]


def advertisement(hop_limit: int) -> bytes:
    head = (
        bytes.fromhex("6000000000203a")
        + bytes((hop_limit,))
        + ip_address("fe80::1").packed
        + ip_address("fe80::2").packed
    )
    return head + bytes.fromhex("8800000060000000") + ip_address("fe80::1").packed + b"\2\1" + MAC


def test_a_link_address_of_another_length_is_none() -> None:
    assert is_at(arp(), THERE) == MAC
    for length in (0, 1, 8, 255):
        assert is_at(arp(length), THERE) in (None, MAC)


def test_an_advertisement_that_a_router_forwarded_is_no_neighbours() -> None:
    assert is_at(advertisement(255), "fe80::1") == MAC
    assert is_at(advertisement(254), "fe80::1") is None


def test_a_certificate_of_an_unknown_version_cannot_be_read() -> None:
    certificate = _certificates()[0]
    at = certificate.index(b"\xa0\x03\x02\x01\x02") + 4
    assert describe(certificate)["subject"].isprintable()
    assert describe(certificate[:at] + b"\x3f" + certificate[at + 1 :]) == {}


def test_a_certificate_adds_no_lines() -> None:
    read = describe(_certificates()[0].replace(b"db \x1b[31m", b"db \n[31m"))
    assert read["subject"] == "O=o,CN=db \\n[31m"


@pytest.mark.parametrize("number", [-(2**31), 2**31 - 1, -5000])
def test_an_errno_that_is_none(number: int) -> None:
    with pytest.raises(OSError, match="unknown error"):
        netlink.answers(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, number))


@pytest.mark.parametrize("data", [struct.pack("=IHHII", 20, 2, 0, 1, 0), struct.pack("=IHHII", 4, 16, 0, 1, 0)])
def test_an_answer_that_is_not_whole(data: bytes) -> None:
    with pytest.raises(OSError, match="netlink answer"):
        netlink.answers(data)


def test_an_error_that_is_cut_short_is_none() -> None:
    class Queue:
        waiting = [(0, error_queue._IP_RECVERR, bytes(18))]

        def recvmsg(self, *_: int) -> object:
            if not self.waiting:
                raise BlockingIOError
            return b"", [self.waiting.pop()], 0, None

    assert next_refusal(Queue()) is None  # type: ignore[arg-type]


def test_a_message_nested_without_end() -> None:
    body = b"\x82\xa4type\xa5ready\xa1x" + b"\x91" * 5000 + b"\x90"
    with pytest.raises(ValueError, match="nested without end"):
        Unframer(FromChild).feed(struct.pack("!I", len(body)) + body)  # type: ignore[arg-type]
