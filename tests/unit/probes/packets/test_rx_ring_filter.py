"""Which packets the capture's filter lets through, by a machine of a few lines that runs it as the kernel would."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from probes.packets.parse import ACK, AH, ESP, IPV4, IPV6, PSH, RST, SYN, TCP, UDP
from probes.packets.rx_ring import _PROGRAM, _assemble


def passes(data: bytes, ethertype: int) -> bool:
    """Classic BPF (`Documentation/networking/filter.rst`), the instructions that are used; what is out of bounds drops."""
    code = [struct.unpack_from("HBBI", _assemble(), 8 * n) for n in range(len(_PROGRAM))]
    a = x = at = 0
    while True:
        operation, yes, no, k = code[at]
        at += 1
        try:
            match operation:
                case 0x28:
                    a = ethertype if k == 0xFFFFF000 else struct.unpack_from("!H", data, k)[0]
                case 0x30:
                    a = data[k]
                case 0xB1:
                    x = (data[k] & 15) * 4
                case 0x50:
                    a = data[x + k]
                case 0x15:
                    at += yes if a == k else no
                case 0x45:
                    at += yes if a & k else no
                case 0x06:
                    return bool(k)
        except (IndexError, struct.error):
            return False


def four(number: int, flags: int = 0) -> bytes:
    return bytes([0x45, *bytes(8), number, *bytes(10), *bytes(13), flags, *bytes(6)])


def six(number: int, flags: int = 0) -> bytes:
    return bytes([0x60, *bytes(5), number, *bytes(33), *bytes(13), flags, *bytes(6)])


@pytest.mark.parametrize(("build", "ethertype", "icmp"), [(four, IPV4, 1), (six, IPV6, 58)])
def test_what_opens_resets_is_a_datagram_or_ipsec_passes_and_bulk_traffic_does_not(
    build: Callable[..., bytes], ethertype: int, icmp: int
) -> None:
    for number in (UDP, icmp, ESP, AH):
        assert passes(build(number), ethertype), number
    for flags, wanted in ((SYN, True), (SYN | ACK, True), (RST, True), (ACK, False), (PSH | ACK, False)):
        assert passes(build(TCP, flags), ethertype) == wanted, flags
    assert not passes(build(47), ethertype)
    assert not passes(build(TCP, SYN), 0x0806)


def test_what_may_be_behind_extension_headers_is_let_through_to_be_read() -> None:
    for number in (0, 43, 44, 60):
        assert passes(six(number), IPV6), number
        assert not passes(four(number), IPV4), number
