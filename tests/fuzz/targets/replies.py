"""What endpoints and the kernel answer to probes: DNS, banners, certificates, netlink."""

from __future__ import annotations

import datetime as dt
import socket
import struct
import warnings
from functools import cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coordinator.rounds.control_echo import MOST_REQUEST, TOKEN, Echo
from probes.host import counters, netlink, routes
from probes.protocols import banner, dns, tls
from tests.fuzz.target import Fault, Target


def domain(data: bytes) -> None:
    words = dns.describe(data)
    assert words.isprintable()
    found = dns.addresses(data)
    assert len(found) * 11 <= len(data), "each record has eleven bytes at least"
    for address in found:
        ip_address(address)


def _dns_replies() -> list[bytes]:
    question = b"\0\7" + dns.query("db.prod.internal", "A")[2:]
    head = question[:2] + b"\x81\x80\0\1\0\2\0\0\0\0" + question[12:]
    a = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((10, 30, 0, 21))
    aaaa = b"\xc0\x0c" + struct.pack("!HHIH", 28, 1, 60, 16) + ip_address("fd00::1").packed
    named = b"\2db\0" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
    return [
        head + a + aaaa,
        head + named + a,
        head + a[:9],
        head[:7] + b"\xff" + head[8:] + a,
        question,
        b"\0" * 12,
        head[:3] + b"\x83" + head[4:],
        b"",
    ]


def said(data: bytes) -> None:
    note = banner.note(data)
    assert note.isascii()
    assert note.isprintable()
    assert len(note) <= 60 + 24
    digest = banner.digest(data)
    assert len(digest) == 16
    assert banner.digest(data + b"\r\nDate: now") == digest, "a date changes nothing"


def _banners() -> list[bytes]:
    return [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/1.0 200 OK\r\nDate: x\r\nServer: y\r\n\r\n<html>",
        b"\x1b[2J\x07evil\xff\n",
        b"",
        b"\n",
        "é".encode() * 40,
    ]


def certificate(data: bytes) -> None:
    assert len(tls.fingerprint(data)) == 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of what a certificate should not hold
        shown = tls.describe(data)
    assert not shown or set(shown) == {"subject", "issuer", "names", "not_after"}
    for text in shown.values():
        assert text.isprintable(), repr(text)


@cache
def _certificates() -> tuple[bytes, ...]:
    key = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
    begins, ends = (
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
    )
    made = []
    for names in (
        (),
        (x509.DNSName("db.prod.internal"), x509.IPAddress(ip_address("10.30.0.21")), x509.RFC822Name("a@b")),
    ):
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "db \x1b[31m"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(begins)
            .not_valid_after(ends)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made.append(builder.sign(key, None))
    return (*(one.public_bytes(Encoding.DER) for one in made), b"", b"\x30\x03\x02\x01\x01")


def kernel(data: bytes) -> None:
    """One datagram of netlink, read by everything that reads such answers."""
    try:
        bodies, _ = netlink.answers(data)
    except OSError:
        return
    assert sum(map(len, bodies)) <= len(data)
    for body in bodies:
        for at in (0, 8, 12, 16, 72):
            pairs = list(netlink.attributes(body, at))
            assert sum(len(value) for _, value in pairs) <= len(body)
        for read in (lambda: list(routes._hops(body, 12)), lambda: counters.interface_losses(body)):  # noqa: B023
            try:
                read()
            except OSError:
                continue


def _netlink_answers() -> list[bytes]:
    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body + bytes(-len(body) % 4)

    four = socket.inet_aton("10.10.0.1")
    hops = struct.pack("=Hxxi", 16, 3) + attribute(5, four) + struct.pack("=Hxxi", 8, 4)
    route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
    ways = [
        attribute(4, struct.pack("=i", 2)) + attribute(5, four),
        attribute(4, struct.pack("=i", 2)) + attribute(18, b"\n\0" + ip_address("fe80::1").packed),
        attribute(9, hops),
    ]
    link = (
        struct.pack("=BxHiII", 0, 1, 2, 0x1003, 0)
        + attribute(3, b"eth0\0")
        + attribute(23, bytes(range(192)))
        + attribute(35, struct.pack("=I", 3))
    )
    loopback = struct.pack("=BxHiII", 0, 1, 1, 0x49, 0) + attribute(3, b"lo\0")
    short = struct.pack("=BxHiII", 0, 1, 2, 0x1003, 0) + attribute(23, bytes(96)) + attribute(35, b"\1")
    found = [message(24, route + way) for way in ways] + [message(16, one) for one in (link, loopback, short)]
    done, error, silly = (
        message(3, bytes(4)),
        message(2, struct.pack("=i", -101)),
        message(2, struct.pack("=i", -(2**31))),
    )
    return [*found, b"".join(found) + done, error, error[:17], silly, struct.pack("=IHHII", 4, 16, 0, 0, 0), b""]


def echo(data: bytes) -> None:
    """Datagrams to the coordinator's echo, which anybody can send."""
    clock = [0.0]
    answering = Echo(lambda: clock[0])
    answering.know("R1", b"k" * 16)
    answering.know("R2", b"k" * 16)
    answering.forget("R2")
    first = answering.answer(data)
    assert first is None or (len(first) == 16 and len(data) <= MOST_REQUEST and data[TOKEN:] in {b"R1", b"R2"})
    assert first is None or len(first) <= 2 * len(data), "it amplifies nothing"
    clock[0] = 1e6
    assert answering.answer(data) is None, "a round that is over is not answered"


TARGETS = (
    Target(
        "dns", domain, _dns_replies, {"probes/protocols/dns.py": ("describe", "addresses")},
        (
            Fault("probes.protocols.dns:addresses", "    except DNSException:", "    except KeyError:"),
            Fault("probes.protocols.dns:addresses", "in {A, AAAA}", "not in {A, AAAA}"),
            Fault("probes.protocols.dns:describe", "len(reply) < 12 or ", ""),
        ),
        share=60,
    ),
    Target(
        "banner", said, _banners, {"probes/protocols/banner.py": ("note", "digest")},
        (Fault("probes.protocols.banner:note", ' if c.isprintable() and c.isascii() else "."', ""), Fault("probes.protocols.banner:digest", "line.lower()", "line")),
        share=60,
    ),
    Target(
        "certificate", certificate, _certificates, {"probes/protocols/tls.py": ("describe", "_names", "fingerprint")},
        (Fault("probes.protocols.tls:describe", "    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):", "    except x509.DuplicateExtension:"),),
        share=20,
    ),
    Target(
        "kernel", kernel, _netlink_answers, {"probes/host/netlink.py": ("answers", "values", "attributes", "address"), "probes/host/routes.py": ("_hops", "_gateway"), "probes/host/counters.py": ("interface_losses",)},
        (
            Fault("probes.host.netlink:attributes", "        if length < 4:", "        if False:"),
            Fault("probes.host.netlink:answers", "        if length < 16:", "        if False:"),
            Fault("probes.host.routes:_hops", "max(8, (length + 3) & ~3)", "(length + 3) & ~3"),
        ),
        share=30,
    ),
    Target(
        "echo", echo, lambda: [b"t" * 8 + b"R1", b"t" * 8 + b"R2", b"t" * 8 + b"R3", b"t" * 8, b"t" * 80, b""], {"coordinator/rounds/control_echo.py": ("Echo.answer",)},
        (Fault("coordinator.rounds.control_echo:Echo.answer", " or entry.until < self._now()", ""),),
        share=60,
    ),
)  # fmt: skip
