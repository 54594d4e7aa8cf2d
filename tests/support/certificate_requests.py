"""Requests for a certificate, signed with a key of the tests."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def request_of(key: ec.EllipticCurvePrivateKey, *names: tuple[x509.ObjectIdentifier, str]) -> bytes:
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


CN, OU = x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME
KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = request_of(KEY, (CN, "dev-1"), (OU, "dev"))
