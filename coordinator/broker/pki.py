"""Keys and certificates: a private CA, one certificate per agent with its environment inside, and the signing key.

`pki init` makes the directory, `pki agent` a bundle; the directory is for its owner's eyes only. `pki revoke` raises
the generation of an agent (see `wire.certificates`): all its earlier certificates are refused.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from nacl.encoding import HexEncoder
from nacl.signing import SigningKey

from coordinator.broker import authority
from coordinator.broker.authority import Authority
from reachability.texts import printable
from wire.certificate_request import UNREADABLE, new_key, pem
from wire.certificates import agent_uri, read_uri
from wire.keyfiles import Exposed, check_directory, check_key, write_private

COORDINATOR_LIFE = dt.timedelta(days=90)  # see `own`
AGENT_LIFE = dt.timedelta(days=90)
SERVER_LIFE = dt.timedelta(days=90)  # issued at each start
BROKER_NAME = "broker.segwatch.internal"  # what agents check the broker's certificate for, whatever its address
COORDINATOR_URI = "segwatch://coordinator"
SIGNING_KEY = "coordinator.signing.key"
REVOKED = "revoked.json"  # agent -> generation; absent while nothing was revoked
MOST_REQUEST = 4096  # bytes; one for a P-256 key has about 300


class PkiError(Exception):
    """Something about the PKI directory that a person must fix; the text says what and how."""


class RequestRefused(Exception):  # noqa: N818 - reads as what it is
    """A request for a certificate that is not granted; the text says why."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as PEM, with its key where that was made here."""

    certificate: bytes
    key: bytes
    expires: dt.datetime
    trust: bytes  # PEM: what its holder is to trust


def init(directory: Path, now: dt.datetime) -> None:
    """Make CA, the coordinator's client certificate and the signing key; PkiError when one is there already."""
    held = [path.name for path in _files(directory) if path.exists()]
    if held:
        msg = f"{directory} already holds {', '.join(held)}: every bundle out there depends on them. Name another directory"
        raise PkiError(f"{msg}, or move this one away first.")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    try:
        check_directory(directory)
    except Exposed as error:
        raise PkiError(str(error)) from error
    certificate, key = authority.make(now)
    write_private(directory / authority.KEY, pem(key))
    write_private(directory / authority.CA, authority.pem_of(certificate), mode=0o644)
    issue_coordinator(directory, now)
    signing = SigningKey.generate()
    write_private(directory / SIGNING_KEY, signing.encode(HexEncoder) + b"\n")
    write_private(directory / "coordinator.pub", signing.verify_key.encode(HexEncoder) + b"\n", mode=0o644)


def issue_agent(
    directory: Path, environment: str, agent: str, now: dt.datetime, life: dt.timedelta = AGENT_LIFE
) -> Issued:
    """A client certificate for an agent, its environment inside; its key is nowhere but in the answer."""
    check(directory)
    uri = agent_uri(environment, agent, revocations(directory).get(agent, 0))
    return _issue(directory, now, life, _subject(uri), uri=uri)


def sign_request(
    directory: Path, uri: str, request: bytes, now: dt.datetime, life: dt.timedelta = AGENT_LIFE
) -> Issued:
    """A client certificate for a key that an agent holds; RequestRefused unless the request names that agent too.

    `uri` is who asks, as its connection says; `request` is PKCS #10 in DER.
    """
    environment, agent, _ = read_uri(uri)
    if len(request) > MOST_REQUEST:
        raise RequestRefused(f"the request has {len(request)} bytes; {MOST_REQUEST} are taken")
    try:
        asked = x509.load_der_x509_csr(request)
        key, signed = asked.public_key(), asked.is_signature_valid
        named, words = [(attribute.oid, attribute.value) for attribute in asked.subject], asked.subject.rfc4514_string()
    except UNREADABLE as error:
        raise RequestRefused(f"the request cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestRefused("the request is for a key that is not of P-256")
    if not signed:
        raise RequestRefused("the request is not signed with its own key")
    if named != _subject(agent_uri(environment, agent)):
        raise RequestRefused(f"'{agent}' of '{environment}' asks for a certificate of '{printable(words)[:200]}'")
    check(directory)
    return _issue(directory, now, life, _subject(uri), key, uri=uri)


def revocations(directory: Path) -> dict[str, int]:
    """Agent to the generation of its certificates that is in force, 0 where it is not in here."""
    path = directory / REVOKED
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise PkiError(f"{path} cannot be read: {error}. Restore it: those in it must stay out") from error


def revoke(directory: Path, agent: str, now: dt.datetime) -> int:
    """Refuse every certificate that the agent has so far; returns the generation of those to come."""
    check(directory)
    with _alone(directory):
        held = revocations(directory)
        held[agent] = max(held.get(agent, 0) + 1, int(now.timestamp()))
        write_private(directory / REVOKED, msgspec.json.format(msgspec.json.encode(held), indent=1) + b"\n")
    return held[agent]


def issue_coordinator(directory: Path, now: dt.datetime, life: dt.timedelta = COORDINATOR_LIFE) -> None:
    """A new certificate for the coordinator's own connection, in `coordinator.pem`, its key in `coordinator.key`."""
    issued = _issue(directory, now, life, [(NameOID.COMMON_NAME, "coordinator")], uri=COORDINATOR_URI)
    write_private(directory / "coordinator.key", issued.key)
    write_private(directory / "coordinator.pem", issued.certificate, mode=0o644)


def issue_server(
    directory: Path, hosts: tuple[str, ...], now: dt.datetime | None = None, life: dt.timedelta = SERVER_LIFE
) -> dt.datetime:
    """A new certificate for the embedded broker, in `broker.pem`, its key in `broker.key`; when it ends."""
    issued = server_certificate(directory, hosts, now or dt.datetime.now(dt.UTC), life)
    write_private(directory / "broker.key", issued.key)
    write_private(directory / "broker.pem", issued.certificate, mode=0o644)
    return issued.expires


def server_certificate(
    directory: Path, hosts: tuple[str, ...], now: dt.datetime, life: dt.timedelta = SERVER_LIFE
) -> Issued:
    """A broker's certificate, for the hosts (addresses or names) and `BROKER_NAME`."""
    check(directory)
    names: list[x509.GeneralName] = [x509.DNSName(BROKER_NAME)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return _issue(directory, now, life, [(NameOID.COMMON_NAME, "broker")], server=tuple(names))


def load_signing_key(directory: Path) -> SigningKey:
    """The key that signs what goes down; PkiError when it is missing, is not one, or can be read by others."""
    check(directory)
    try:
        return SigningKey(bytes.fromhex((directory / SIGNING_KEY).read_text().strip()))
    except ValueError as error:
        raise PkiError(f"{directory / SIGNING_KEY} is not an Ed25519 key: {error}") from error


def check(directory: Path) -> None:
    """PkiError when a file is missing, or others could read or replace a key."""
    missing = [path.name for path in _files(directory) if not path.exists()]
    if missing:
        raise PkiError(
            f"{directory} holds no {', '.join(missing)}. Make it: segwatch pki init --dir {directory} -f topology.yaml"
        )
    try:
        check_directory(directory)
        for path in (*_files(directory), directory / authority.OLD_KEY):
            if path.suffix == ".key" and path.exists():
                check_key(path)
    except Exposed as error:
        raise PkiError(str(error)) from error


def trust(directory: Path) -> Authority:
    """Which CA signs, and which are trusted; PkiError when that cannot be read."""
    try:
        return authority.read(directory)
    except (OSError, ValueError) as error:
        raise PkiError(f"{directory}: the CA cannot be read: {error}") from error


def _files(directory: Path) -> tuple[Path, ...]:
    names = ("ca.pem", "ca.key", "coordinator.pem", "coordinator.key", SIGNING_KEY, "coordinator.pub")
    return tuple(directory / name for name in names)


def _issue(
    directory: Path,
    now: dt.datetime,
    life: dt.timedelta,
    subject: list[tuple[x509.ObjectIdentifier, str]],
    key: ec.EllipticCurvePublicKey | None = None,
    *,
    uri: str = "",
    server: tuple[x509.GeneralName, ...] = (),
) -> Issued:
    """A leaf certificate, for the key or a new one: a client's with a URI, or a server's with its names."""
    own, held = new_key(), trust(directory)
    ca, ca_key = held.signer(server=bool(server))
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in subject])
    certificate = (
        authority.builder(name, ca.subject, key or own.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(authority.usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(server or [x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = b"" if key else pem(own)
    return Issued(authority.pem_of(certificate), private, certificate.not_valid_after_utc, held.pem)


def _subject(uri: str) -> list[tuple[x509.ObjectIdentifier, str]]:
    """An agent's, with the generation: to Mosquitto the subject is the name of the user."""
    environment, agent, generation = read_uri(uri)
    named = [(NameOID.COMMON_NAME, agent), (NameOID.ORGANIZATIONAL_UNIT_NAME, environment)]
    return [*named, (NameOID.SERIAL_NUMBER, str(generation))] if generation else named


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two that revoke at once must not undo each other."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
