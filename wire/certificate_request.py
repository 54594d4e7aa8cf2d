"""Makes keys and the requests for their certificates (PKCS #10), and tells whose a certificate is.

Apart from `wire.certificates`, which an idle daemon imports.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# What cryptography raises for a certificate or a request that somebody made up, whatever is asked of it.
UNREADABLE = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, x509.ExtensionNotFound,
    x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip


def new_key() -> ec.EllipticCurvePrivateKey:
    """Of the kind that every certificate here is for."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """As key files hold it."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


def request_of(key: ec.EllipticCurvePrivateKey, environment: str, agent: str) -> bytes:
    """A request for the certificate of an agent, in DER."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, agent),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, environment),
        ]
    )
    asked = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return asked.public_bytes(serialization.Encoding.DER)


def is_issued_by(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether that CA signed it."""
    try:
        certificate.verify_directly_issued_by(ca)
    except UNREADABLE:
        return False
    return True
