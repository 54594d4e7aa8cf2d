"""Keys and certificates: a private CA, one certificate an agent with its environment inside, and the signing key.

`pki init` makes the directory, `pki agent` a bundle; the directory is for its owner's eyes only.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from nacl.encoding import HexEncoder
from nacl.signing import SigningKey

CA_LIFE = dt.timedelta(days=3650)
COORDINATOR_LIFE = dt.timedelta(days=3650)  # it does not leave this directory
AGENT_LIFE = dt.timedelta(days=90)
SERVER_LIFE = dt.timedelta(days=90)  # issued at each start
BACKDATE = dt.timedelta(minutes=15)  # clocks of agents may be late
BROKER_NAME = "broker.segwatch.internal"  # what agents hold the broker's certificate against, whatever its address
COORDINATOR_URI = "segwatch://coordinator"
SIGNING_KEY = "coordinator.signing.key"


class PkiError(Exception):
    """Something about the PKI directory that a person must mend; the text says what and how."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, as PEM."""

    certificate: bytes
    key: bytes
    expires: dt.datetime


def init(directory: Path, now: dt.datetime) -> None:
    """Make CA, the coordinator's client certificate and the signing key; PkiError when one is there already."""
    held = [path.name for path in _files(directory) if path.exists()]
    if held:
        msg = (
            f"{directory} already holds {', '.join(held)}: every bundle out there hangs on them. Name another directory"
        )
        raise PkiError(f"{msg}, or move this one away first.")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "segwatch"),
            # Two CAs of one name would be taken for each other where a host holds both.
            x509.NameAttribute(NameOID.COMMON_NAME, f"segwatch CA {secrets.token_hex(4)}"),
        ]
    )
    certificate = (
        _builder(name, name, key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(directory / "ca.key", _pem(key))
    _write(directory / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    coordinator = _issue(directory, now, COORDINATOR_LIFE, [(NameOID.COMMON_NAME, "coordinator")], uri=COORDINATOR_URI)
    _write(directory / "coordinator.key", coordinator.key)
    _write(directory / "coordinator.pem", coordinator.certificate, mode=0o644)
    signing = SigningKey.generate()
    _write(directory / SIGNING_KEY, signing.encode(HexEncoder) + b"\n")
    _write(directory / "coordinator.pub", signing.verify_key.encode(HexEncoder) + b"\n", mode=0o644)


def agent_uri(environment: str, agent: str) -> str:
    """The name of an agent in its certificate (URI SAN) and in the broker's list of users."""
    return f"segwatch://agent/{environment}/{agent}"


def issue_agent(directory: Path, environment: str, agent: str, now: dt.datetime) -> Issued:
    """A client certificate for an agent, its environment inside; its key is nowhere but in the answer."""
    check(directory)
    subject = [(NameOID.COMMON_NAME, agent), (NameOID.ORGANIZATIONAL_UNIT_NAME, environment)]
    return _issue(directory, now, AGENT_LIFE, subject, uri=agent_uri(environment, agent))


def issue_server(directory: Path, hosts: tuple[str, ...], now: dt.datetime | None = None) -> tuple[Path, Path]:
    """A new certificate for the broker, for the hosts (addresses or names) and `BROKER_NAME`; (certificate, key)."""
    check(directory)
    names: list[x509.GeneralName] = [x509.DNSName(BROKER_NAME)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    moment = now or dt.datetime.now(dt.UTC)
    issued = _issue(directory, moment, SERVER_LIFE, [(NameOID.COMMON_NAME, "broker")], server=tuple(names))
    certificate, key = directory / "broker.pem", directory / "broker.key"
    _write(key, issued.key)
    _write(certificate, issued.certificate, mode=0o644)
    return certificate, key


def load_signing_key(directory: Path) -> SigningKey:
    """The key that signs what goes down; PkiError when it is not there, not one, or others can read it."""
    check(directory)
    try:
        return SigningKey(bytes.fromhex((directory / SIGNING_KEY).read_text().strip()))
    except ValueError as error:
        raise PkiError(f"{directory / SIGNING_KEY} is not an Ed25519 key: {error}") from error


def check(directory: Path) -> None:
    """PkiError when a file is missing, or a key can be read by others."""
    missing = [path.name for path in _files(directory) if not path.exists()]
    if missing:
        raise PkiError(
            f"{directory} holds no {', '.join(missing)}. Make it: segwatch pki init --dir {directory} -f topology.yaml"
        )
    for path in _files(directory):
        if path.suffix == ".key" and path.stat().st_mode & 0o077:
            raise PkiError(f"{path} can be read by others. Mend it: chmod 600 {path}")


def _files(directory: Path) -> tuple[Path, ...]:
    names = ("ca.pem", "ca.key", "coordinator.pem", "coordinator.key", SIGNING_KEY, "coordinator.pub")
    return tuple(directory / name for name in names)


def _issue(
    directory: Path,
    now: dt.datetime,
    life: dt.timedelta,
    subject: list[tuple[x509.ObjectIdentifier, str]],
    *,
    uri: str = "",
    server: tuple[x509.GeneralName, ...] = (),
) -> Issued:
    """A leaf certificate: a client's with a URI, or a server's with its names."""
    try:
        ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        ca_key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise PkiError(f"{directory}: the CA does not read: {error}") from error
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in subject])
    certificate = (
        _builder(name, ca.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(server or [x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), certificate.not_valid_after_utc)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + life)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
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


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole file or none, with its mode from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    temporary.replace(path)
