"""What agents show for themselves, the same bytes in each run: that of dev-1, and much that is none of an agent of this CA."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
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
_VERSION = b"\xa0\x03\x02\x01"  # in DER, before the version's number


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


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
