"""The API's certificate: two files, looked at with each connection, so that a renewed one needs no restart."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog
from cryptography import x509

from wire.keyfiles import check_key

log = structlog.get_logger("web")
_Stamp = tuple[tuple[int, int, int], ...]


class CannotServeError(OSError):
    """The API cannot be served as it was asked for; the text says why, and what to do."""


class Certificate:
    """What clients are shown. CannotServeError, Exposed or OSError where the files cannot be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._stamp = self._look()
        self.context = self._current = self._load()

    def _look(self) -> _Stamp:
        found = [path.stat() for path in (self._certificate, self._key)]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def _load(self) -> ssl.SSLContext:
        check_key(self._key)
        try:
            held = x509.load_pem_x509_certificate(_read(self._certificate))
            _read(self._key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self._certificate, self._key, password="")  # so that nobody is asked at a terminal
        except (ValueError, ssl.SSLError) as error:
            pair = f"{self._certificate} and {self._key}"
            raise CannotServeError(
                f"{pair} are not a certificate and its key, both PEM, the key without a passphrase: {error}"
            ) from error
        context.sni_callback = self._renewed
        self.valid = (held.not_valid_before_utc.timestamp(), held.not_valid_after_utc.timestamp())
        self.names = _names(held)
        return context

    def _renewed(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Called in each handshake: take the files where they have changed, or go on with what was there before."""
        try:
            if (stamp := self._look()) != self._stamp:
                self._stamp = stamp
                self._current = self._load()
        except Exception as error:  # noqa: BLE001 - half of a pair may be written; what is raised here goes nowhere
            log.warning("the API's new certificate is not taken, the old one stays", problem=str(error))
        connection.context = self._current


def _read(path: Path) -> bytes:
    """OSError that names the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _names(held: x509.Certificate) -> frozenset[str]:
    try:
        named = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(name.lower() for name in named.get_values_for_type(x509.DNSName))
