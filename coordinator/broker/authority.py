"""The CA, or both of them while one gives way to the next: which signs, and which are trusted.

`ca.pem` holds the certificates, the newest first, and `ca.key` the key of the one that signs: those before that one are what a
rotation left that was cut off, and count for nothing. While two are trusted, `ca.old.key` signs for the broker, so that
whoever knows the old one alone can still connect.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wire.certificate_request import new_key

CA, KEY, OLD_KEY = "ca.pem", "ca.key", "ca.old.key"
LIFE = dt.timedelta(days=3650)
BACKDATE = dt.timedelta(days=1)  # clocks of agents may be late


@dataclass(frozen=True, slots=True)
class Authority:
    """What is trusted, with its keys; `certificates` has the one that signs first, `old_key` is there while there are two."""

    certificates: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey
    old_key: ec.EllipticCurvePrivateKey | None

    @property
    def rotates(self) -> bool:
        """Whether an old one is still trusted."""
        return self.old_key is not None

    @property
    def pem(self) -> bytes:
        """What is given out to be trusted."""
        return pem_of(*self.certificates)

    def signer(self, *, server: bool) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Which signs for a client, or for a server: what everybody trusts, also who has not heard of the new one."""
        return (self.certificates[-1], self.old_key) if server and self.old_key else (self.certificates[0], self.key)


def read(directory: Path) -> Authority:
    """What a PKI directory holds; OSError or ValueError when it cannot be read."""
    try:
        return _read(directory)
    except FileNotFoundError:  # a rotation may have been finished at this very moment
        return _read(directory)


def _read(directory: Path) -> Authority:
    key = _key(directory / KEY)  # first: a rotation writes it last
    try:
        held = x509.load_pem_x509_certificates((directory / CA).read_bytes())
    except ValueError as error:
        raise ValueError(f"{CA} is not a certificate: {error}. Restore it: every bundle depends on it") from error
    signing = [index for index, each in enumerate(held) if each.public_key() == key.public_key()]
    if not signing:
        raise ValueError(f"{KEY} is not the key of a certificate in {CA}")
    trusted = tuple(held[signing[0] :])
    return Authority(trusted, key, _key(directory / OLD_KEY) if len(trusted) > 1 else None)


def make(now: dt.datetime, life: dt.timedelta = LIFE) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new one."""
    key = new_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "segwatch"),
            # Two CAs of one name would be taken for each other where a host holds both.
            x509.NameAttribute(NameOID.COMMON_NAME, f"segwatch CA {secrets.token_hex(4)}"),
        ]
    )
    certificate = (
        builder(name, name, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def pem_of(*certificates: x509.Certificate) -> bytes:
    """As files hold them."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def backdate(life: dt.timedelta) -> dt.timedelta:
    """How long before it is issued a certificate of such a life is valid."""
    return min(BACKDATE, life / 6)


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    """What every certificate here has."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - backdate(life))
        .not_valid_after(now + life)
    )


def usage(*, ca: bool) -> x509.KeyUsage:
    """Of a CA's key or of another's."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is not a key that segwatch makes")  # noqa: TRY004 - one kind for what cannot be read
    return key
