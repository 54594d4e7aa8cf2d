"""What an agent is given: a bundle, a configuration, a set of ports, a certificate for its key."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
from functools import cache
from pathlib import Path
from tempfile import mkstemp
from unittest.mock import patch

import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent import credential
from agent.bundle import MEMBERS, BundleError, read_bundle
from agent.bundle import MOST_BYTES as MOST_BUNDLE
from agent.config import NEXT, NEXT_KEY, check
from cli.agent.file import parse_agent_yaml
from cli.errors import Problem
from reachability.ports import ALL_PORTS, PortSet, _parse
from tests.fuzz.target import Fault, Shape, Target
from tests.fuzz.targets import enrolment, identity
from tests.fuzz.targets.messages import assert_readable
from wire.certificate_request import pem
from wire.signing import read_verify_key


@cache
def _file() -> Path:
    """A file in memory, where there is such a place."""
    shm = Path("/dev/shm")
    return Path(mkstemp(prefix="segwatch-fuzz", dir=os.environ.get("TMPDIR") or (shm if shm.is_dir() else None))[1])


def forget() -> None:
    """Remove it."""
    if _file.cache_info().currsize:
        _file().unlink(missing_ok=True)
        _file.cache_clear()


def bundle(data: bytes) -> None:
    """As it is, and with its checksums put right, which no chance would find."""
    _bundle(data)
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    mended = [
        block[:148] + b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256) + block[156:]
        if block[257:262] == b"ustar" and len(block) == 512
        else block
        for block in blocks
    ]
    _bundle(b"".join(mended))


def _bundle(data: bytes) -> None:
    """Five plain files with their names, whatever the tar says; nothing is written anywhere."""
    _file().write_bytes(data)
    try:
        files = read_bundle(_file())
    except BundleError as error:
        assert_readable(error)
        return
    assert set(files) == set(MEMBERS)
    with tarfile.open(_file()) as tar:
        assert all(member.isreg() for member in tar), "a link or device was taken"
    assert sum(map(len, files.values())) <= min(len(data), MOST_BUNDLE), "more came out than went in"


def _tar(*more: tuple[str, bytes, str], names: tuple[str, ...] = MEMBERS, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=kind) as tar:
        for name, flag, link in (*((name, tarfile.REGTYPE, "") for name in names), *more):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = flag, link, 1 if flag == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"x"))
    return held.getvalue()[: 512 * 30]


@cache
def _bundles() -> tuple[bytes, ...]:
    plain = _tar()
    long = bytearray(plain[:512])
    long[124:136], long[156:157] = b"00000000000\0", b"L"
    sparse = bytearray(plain[:1024])
    sparse[156:157] = b"S"
    sparse[386:410] = b"00000000000\0zzzzzzzzzzzz"
    return (
        plain, _tar(names=MEMBERS[:1]), _tar(("../evil", tarfile.REGTYPE, "")), _tar(("agent.key", tarfile.REGTYPE, "")), _tar(("agent.pem", tarfile.SYMTYPE, "/etc/shadow"), names=MEMBERS[:1]),
        _tar(("agent.pem", tarfile.LNKTYPE, "agent.yaml"), names=("agent.yaml", *MEMBERS[2:])), _tar(("é\x1b[2J", tarfile.REGTYPE, ""), kind=tarfile.PAX_FORMAT), _tar(("n" * 120, tarfile.REGTYPE, ""), kind=tarfile.GNU_FORMAT),
        plain[:700], b"", bytes(long) * 1200 + plain, bytes(sparse), _tar(("GNUSparseFile.0", b"x", ""), kind=tarfile.GNU_FORMAT), plain[:124] + b"77777777777\0" + plain[136:], plain[:124] + b"00010000000\0" + plain[136:], b"".join(plain[:512] for _ in range(40)), b"".join([plain[:512] + bytes(512)] * 3), b"".join(plain[:5] + b"%d" % n + plain[6:512] for n in range(10, 50)), plain[:124] + b"\xff" * 12 + plain[136:], bytes(3 << 20),
    )  # fmt: skip


def configuration(data: bytes) -> None:
    try:
        config = parse_agent_yaml(data, "agent.yaml")
    except Problem as error:
        assert str(error)
        assert str(error).replace("\n", "").isprintable(), repr(str(error))
        return
    assert not check(config)
    assert config.rate_pps > 0
    assert all(0 < window.for_s <= 31 * 86400 for window in config.blackout)


def _configurations() -> list[bytes]:
    whole = {
        "name": "dev-1", "environment": "dev", "broker": "mqtts://10.0.0.1:8883", "allow": ["10.30.0.0/24", "fd00::/64"], "deny": ["10.30.0.5"], "rate_pps": 500, "flows": 100,
        "credentials": {"certificate": "a.pem", "server_name": "coordinator"}, "blackout": [{"cron": "0 2 * * 0", "for": "2h", "timezone": "UTC"}],
    }  # fmt: skip
    text = yaml.safe_dump(whole).encode()
    words = [
        b"name: [",
        b"a: &x 1\nb: *x",
        b"- 1",
        b"a: 2026-13-45",
        b"a: !!timestamp x",
        b"a: !!bool x",
        b"a: !!int x",
        b"a: 1:99:9x",
        b"? [1]\n: 2",
        b"[" * 400,
        b"\xff\xfe",
        b"nmae: dev-1",
        b"qqqqqqqq: 1",
        b"#" * 70_000,
    ]
    windows = [text.replace(b"2h", one) for one in (b"2x", b"'0'", b"[1]", b"99999999d", b".nan")] + [
        text.replace(b"for: 2h", b"for_s: .nan"),
        text.replace(b"  for", b"  fro"),
        text.replace(b"- cron", b"- x\n- cron"),
    ]
    wrong = [
        text.replace(b"rate_pps: 500", b"rate_pps: 0"),
        text.replace(b"flows: 100", b"flows: -1"),
        text.replace(b"UTC", b"../../etc/passwd"),
        text.replace(b"0 2 * *", b"0 99 * *"),
        text.replace(b"0 2 * *", b"0 9-1 * *"),
        text.replace(b"0 2 * *", b"0 2"),
        text.replace(b"0 2 * *", b"*/5 2,3-4 1 1"),
        text.replace(b"name: dev-1", b"name: '\x7f'"),
        text.replace(b"10.30.0.0/24", b"10.30.0.1/24"),
        b"name: dev-1\nenvironment: dev\nbroker: mqtts://h",
    ]
    return [text, *words, *windows, *wrong]


def ports(data: bytes) -> None:
    """A set of ports, and a key, as texts."""
    text = data.decode("utf-8", "replace")
    _parse.cache_clear()
    try:
        found = PortSet.parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert PortSet.parse(str(found)) == found
        assert not found - ALL_PORTS
        assert found | (ALL_PORTS - found) == ALL_PORTS
        assert list(found) == sorted(set(found))
        assert found.first == next(iter(found), -1)
    try:
        key = read_verify_key(text)
    except ValueError as error:
        assert "Ed25519" in str(error)
    else:
        assert len(key.encode()) == 32


def granted(data: bytes) -> None:
    """A certificate that came, as it is and within PEM: taken by an agent, or refused in words and nothing left."""
    for certificate in (data, identity.in_pem(data)):
        state = enrolment.directory()
        (state / NEXT).unlink(missing_ok=True)
        (state / NEXT_KEY).write_bytes(pem(identity.HOST))
        with warnings.catch_warnings(), patch.object(credential, "write_private", enrolment.write):
            warnings.simplefilter("ignore")
            try:
                held = credential.take(enrolment.CONFIG, state, certificate)
            except credential.CredentialError as error:
                assert_readable(error)
                assert not (state / NEXT).exists()
                continue
        assert (held.name, held.environment) == ("dev-1", "dev")
        assert enrolment.is_taken(certificate), "of another CA, or for another key"
        usage = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage.value


def _grants() -> list[bytes]:
    """Alone, and with the CAs that are to be trusted from then on."""
    return [*identity.certificates(), identity.in_pem(identity.certificate()) + identity.CA]


TARGETS = (
    Target(
        "bundle", bundle, _bundles, {"agent/bundle.py": ("read_bundle", "_members")},
        (
            Fault("agent.bundle:_members", " or member.name not in MEMBERS", ""),
            Fault("agent.bundle:read_bundle", "(tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError)", "(tarfile.TarError, LookupError, OverflowError)"),
            Fault("agent.bundle:_members", "    if missing := [name for name in MEMBERS if name not in files]:", "    if missing := []:"),
            Fault("agent.bundle:_members", "if not member.isreg() or", "if"),
        ),
        most=16384,
        share=2,
    ),
    Target(
        "configuration", configuration, _configurations, {"cli/agent/file.py": ("parse_agent_yaml", "_durations", "_seconds", "_with_nearest", "_NoAliases.compose_node"), "agent/config.py": ("check", "_tried"), "reachability/blackout.py": ("Cron.parse", "_field", "_number", "zone")},
        (
            Fault("cli.agent.file:parse_agent_yaml", "(yaml.YAMLError, *_STUMBLES)", "yaml.YAMLError"),
            Fault("agent.config:check", "        if not 0 < window.for_s <= 31 * 86400:", "        if window.for_s <= 0:"),
            Fault("agent.config:check", "    if config.rate_pps <= 0:", "    if False:"),
        ),
        Shape.TEXT, words=(b"- ", b": ", b"\n", b"!!", b"[", b"{", b"&a ", b"*a", b"10.0.0.0/8", b"*/5", b"\x1b", b"1-5", b".inf"),
        share=1,
    ),
    Target(
        "ports", ports, lambda: [b"22", b"1-79,81-65535", b"", b"0", b"65536", b"9-1", b"1-", b",", b"1,,2,", b"a", *(b",".join(b"%d" % (2 * n) for n in range(1, top)) for top in (40, 400)), b"ab" * 32, b"zz" * 32, "²".encode()],
        {"reachability/ports.py": ("PortSet.from_ranges", "_parse", "_ones", "PortSet.__contains__")},
        (
            Fault("reachability.ports:PortSet.from_ranges", "            if not LOWEST <= low <= high <= HIGHEST:", "            if not low <= high <= 2**17:"),
            Fault("reachability.ports:_ones", "[:1:-1]", "[:2:-1]"),
        ),
        Shape.TEXT, words=(b"-", b",", b"65535", b"65536", b"1-65535"),
        share=40,
    ),
    Target(
        "granted", granted, _grants, {"agent/credential.py": ("take", "_trusted", "_key_of", "_held")},
        (
            Fault("agent.credential:_trusted", 'UNREADABLE as error:\n        raise CredentialError(f"the certificate cannot', 'ValueError as error:\n        raise CredentialError(f"the certificate cannot'),
            Fault("agent.credential:_held", 'UNREADABLE as error:\n        raise CredentialError(f"the certificate names', 'ValueError as error:\n        raise CredentialError(f"the certificate names'),
            Fault("agent.credential:take", "    except x509.ExtensionNotFound:", "    except KeyError:"),
            Fault("agent.credential:take", "    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:", "    if False:"),
            Fault("agent.credential:take", "    if not held.ca:", "    if False:"),
            Fault("agent.credential:take", '    if (held.name, held.environment) != (config.name, config.environment):\n        raise CredentialError(f"the certificate is of', '    if False:\n        raise CredentialError(f"the certificate is of'),
        ),
        share=2,
    ),
)  # fmt: skip
