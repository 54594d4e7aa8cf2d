"""`python -m agent.credential look|request|take STATE_DIR`: what an agent needs of X.509, in a process that ends.

`look` says which certificate the agent connects with. `request` makes a new key, which stays here, and prints a request
for a certificate (PKCS #10, DER). `take` reads that certificate (PEM), and the CAs to trust with it, on its standard input, checks
it, and leaves it with its key. The idle daemon imports nothing of this: cryptography alone would cost it 6 MiB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.config import NEXT, NEXT_KEY, NEXT_TRUST, AgentConfig, ConfigError, ca_of, credential, load
from agent.renewal import Held
from reachability.texts import printable
from wire.certificate_request import UNREADABLE, is_issued_by, new_key, pem, request_of
from wire.certificates import ca_name, read_uri, trust_name
from wire.keyfiles import write_private

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
MOST_BYTES = 64 * 1024
REFUSED = 1


class CredentialError(Exception):
    """A certificate or key that is not taken; the text says why."""


def look(config: AgentConfig, state_dir: Path) -> Held:
    """The certificate that the agent connects with; CredentialError when it cannot be read."""
    path, _ = credential(config, state_dir)
    return _held(_read(path.read_bytes(), str(path)), _trusted(ca_of(config, state_dir).read_bytes()))


def request(config: AgentConfig, state_dir: Path) -> bytes:
    """Make a key for the next certificate, and ask for that in the agent's own name."""
    key = new_key()
    write_private(state_dir / NEXT_KEY, pem(key))
    return request_of(key, config.environment, config.name)


def take(config: AgentConfig, state_dir: Path, granted: bytes) -> Held:
    """Leave a certificate for the key that was made last, with it, in `NEXT`; CredentialError when it is another's.

    The CAs that follow it are left in `NEXT_TRUST`; where none does, those stay that are trusted now.
    """
    certificate, *given = _trusted(granted)
    trusted = given or _trusted(ca_of(config, state_dir).read_bytes())
    key_pem = (state_dir / NEXT_KEY).read_bytes()
    key = serialization.load_pem_private_key(key_pem, password=None)
    if _key_of(certificate, "the certificate") != key.public_key():
        raise CredentialError("the certificate is not for the key that was made for it")
    held = _held(certificate, trusted)
    if not held.ca:
        raise CredentialError("the certificate is not of a CA that this agent trusts")
    if (held.name, held.environment) != (config.name, config.environment):
        raise CredentialError(f"the certificate is of {held.name} of {held.environment}")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([])
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise CredentialError("the certificate is not for a client")
    (state_dir / NEXT_TRUST).unlink(missing_ok=True)
    if given:
        write_private(state_dir / NEXT_TRUST, b"".join(each.public_bytes(PEM) for each in given))
    write_private(state_dir / NEXT, certificate.public_bytes(PEM) + key_pem)
    (state_dir / NEXT_KEY).unlink()
    return held


def check_given(config: AgentConfig, certificate: bytes, key: bytes) -> None:
    """CredentialError unless certificate and key, in PEM, are each other's, and this agent's."""
    try:
        given = x509.load_pem_x509_certificate(certificate)
    except UNREADABLE as error:  # what the library says of it is for developers
        raise CredentialError("its certificate is not one in PEM") from error
    held = _held(given, [])
    if (held.name, held.environment) != (config.name, config.environment):
        raise CredentialError(
            f"its certificate is of {held.name} of {held.environment}, its configuration of {config.name} of"
            f" {config.environment}"
        )
    try:
        public = serialization.load_pem_private_key(key, password=None).public_key()
    except UNREADABLE as error:
        raise CredentialError("its key is not a private key in PEM") from error
    if public != _key_of(given, "its certificate"):
        raise CredentialError("its key is not the one of its certificate")


def _read(given: bytes, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(given)
    except UNREADABLE as error:
        raise CredentialError(f"{what} cannot be read: {error}") from error


def _trusted(pem: bytes) -> list[x509.Certificate]:
    """Of all in it; CredentialError where there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except UNREADABLE as error:
        raise CredentialError(f"the certificate cannot be read: {error}") from error


def _key_of(certificate: x509.Certificate, what: str) -> object:
    try:
        return certificate.public_key()
    except UNREADABLE as error:
        raise CredentialError(f"{what} is for no key that is known here") from error


def _held(certificate: x509.Certificate, trusted: list[x509.Certificate]) -> Held:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        environment, name, generation = read_uri(uri)
    except UNREADABLE as error:
        raise CredentialError(f"the certificate names no agent: {printable(str(error))[:200]}") from error
    return Held(
        name=name,
        environment=environment,
        generation=generation,
        starts=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
        ca=next((ca_name(ca.public_bytes(DER)) for ca in trusted if is_issued_by(ca, certificate)), ""),
        trust=trust_name(ca.public_bytes(DER) for ca in trusted),
    )


def main(arguments: list[str]) -> int:
    """One of the three; 1 with a sentence on standard error where it cannot be done."""
    kind, directory = arguments
    state_dir = Path(directory)
    try:
        config = load(state_dir)
        match kind:
            case "look":
                said = msgspec.json.encode(look(config, state_dir))
            case "request":
                said = request(config, state_dir)
            case _:
                said = msgspec.json.encode(take(config, state_dir, sys.stdin.buffer.read(MOST_BYTES)))
    except (CredentialError, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return REFUSED
    sys.stdout.buffer.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
