"""What agents show for themselves, and what they ask for, the same bytes in each run: of dev-1, and much that is none of an agent of this CA."""

from __future__ import annotations

import base64
import datetime as dt
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from nacl.signing import SigningKey

from wire.certificates import agent_uri
from wire.signing import PROOF

KEY = SigningKey(b"\2" * 32)  # dev-1 signs by it what it sends
FROM = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
GENERATION = 1_790_000_000  # the one of now
_URI = agent_uri("dev", "dev-1", GENERATION)
_AUTHORITY, _STRANGER, _AGENT = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 8, 9))
_EC = _AGENT.public_key()
_NO_EC = ed25519.Ed25519PrivateKey.from_private_bytes(b"\3" * 32).public_key()
HOST, OTHER = (
    ec.derive_private_key(number, ec.SECP256R1()) for number in (21, 22)
)  # an agent's key for its certificate, and none
ODD = (ec.derive_private_key(23, ec.SECP384R1()), ed25519.Ed25519PrivateKey.from_private_bytes(b"\5" * 32))
Parts = tuple[tuple[x509.ObjectIdentifier, str], ...]
NAMED: Parts = ((NameOID.COMMON_NAME, "dev-1"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "dev"))
_VERSION = b"\xa0\x03\x02\x01"  # in DER, before the version's number


def _named(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _name(text: str) -> x509.Name:
    return _named((NameOID.COMMON_NAME, text))


def _shown(
    *uris: str,
    days: int = 90,
    key: bytes = KEY.verify_key.encode(),
    issuer: ec.EllipticCurvePrivateKey = _AUTHORITY,
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey = _EC,
) -> dict[str, bytes]:
    """As fields of a `Status`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("dev-1"))
        .issuer_name(_name("CA"))
        .public_key(public)
        .serial_number(5)
        .not_valid_before(FROM)
        .not_valid_after(FROM + dt.timedelta(days=days))
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(issuer, hashes.SHA256(), ecdsa_deterministic=True)
    proof = _AGENT.sign(PROOF + key, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return {"certificate": made.public_bytes(serialization.Encoding.DER), "key": key, "proof": proof}


def _authority() -> bytes:
    made = (
        x509.CertificateBuilder()
        .subject_name(_name("CA"))
        .issuer_name(_name("CA"))
        .public_key(_AUTHORITY.public_key())
        .serial_number(1)
        .not_valid_before(FROM)
        .not_valid_after(FROM + dt.timedelta(days=3650))
        .sign(_AUTHORITY, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return made.public_bytes(serialization.Encoding.PEM)


CA = _authority()
OWN = _shown(_URI)
NOT_OURS: tuple[dict[str, bytes], ...] = (
    _shown(agent_uri("prod", "prod-1", GENERATION)),
    _shown(_URI, days=1),
    _shown(agent_uri("dev", "dev-1")),
    _shown(),
    _shown(_URI, "segwatch://coordinator"),
    _shown(_URI, issuer=_STRANGER),
    _shown(_URI, public=_NO_EC),
    _shown(_URI, key=b"short"),
    {**OWN, "certificate": OWN["certificate"].replace(_VERSION + b"\2", _VERSION + b"\5")},
    {**OWN, "certificate": b"0\x82"},
    {**OWN, "certificate": b""},
    {**OWN, "proof": b"0"},
    {**OWN, "key": bytes(32)},
)


def in_pem(der: bytes) -> bytes:
    """A certificate."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


@cache
def request(key: Any = HOST, name: Parts = NAMED, more: int = 0) -> bytes:
    """For a certificate: PKCS #10 in DER, with so many bytes that nobody asked for."""
    deterministic = {"ecdsa_deterministic": True} if isinstance(key, ec.EllipticCurvePrivateKey) else {}
    digest = hashes.SHA256() if deterministic else None
    builder = x509.CertificateSigningRequestBuilder().subject_name(_named(*name))
    if more:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"x" * more)
    made = builder.sign(key, digest, **deterministic)  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.DER)


def requests() -> list[bytes]:
    """One of dev-1 for its key, and many that are not granted."""
    good = request()
    names: list[Parts] = [
        (),
        NAMED[:1],
        ((NameOID.COMMON_NAME, "\x1b[2J\n\u202e"), NAMED[1]),
        ((NameOID.COMMON_NAME, "x" * 60),) * 40,
    ]
    others = [request(name=name) for name in names]
    broken = [good[:-1] + bytes([good[-1] ^ 1]), good.replace(b"\2\1\0", b"\2\1\5", 1), good[:40], b"", b"0\x82"]
    return [good, *others, *(request(key) for key in ODD), *broken, request(more=5000)]


@cache
def certificate(
    uris: tuple[str, ...] = (agent_uri("dev", "dev-1", GENERATION),),
    key: ec.EllipticCurvePrivateKey = HOST,
    issuer: ec.EllipticCurvePrivateKey = _AUTHORITY,
    usage: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
) -> bytes:
    """An agent's, in DER."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(*NAMED))
        .issuer_name(_name("CA"))
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(FROM)
        .not_valid_after(FROM + dt.timedelta(days=90))
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    made = builder.sign(issuer, hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(serialization.Encoding.DER)


def certificates() -> list[bytes]:
    """One of dev-1 for its key, and many that it does not take."""
    good, own = certificate(), agent_uri("dev", "dev-1")
    return [
        good, certificate(key=OTHER), certificate(issuer=OTHER), certificate(()), certificate((own, own)),
        certificate((agent_uri("prod", "prod-1"),)), certificate(usage=()), certificate(("x",)),
        certificate(usage=(ExtendedKeyUsageOID.SERVER_AUTH,)), good.replace(_VERSION + b"\2", _VERSION + b"\5"),
        good.replace(ec_oid := b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", ec_oid[:-1] + b"\x63"), good[:50], b"", b"0\x82",
        good.replace(b"\x55\x1d\x25", b"\x55\x1d\x11"),
    ]  # fmt: skip
