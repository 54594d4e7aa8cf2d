"""The certificates of this machine: the coordinator's own and its broker's renew themselves; the CA's end is known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from coordinator.broker import authority, pki
from coordinator.broker.authority import Authority
from coordinator.broker.embedded import EmbeddedBroker
from coordinator.broker.external import ExternalBroker
from coordinator.json_types import iso
from wire.certificate_request import is_issued_by
from wire.certificates import is_due

log = structlog.get_logger("certificates")

Valid = tuple[float, float]  # from when until when, epoch seconds; zeros: not known


class OwnCertificates:
    """What this machine shows to others. `care` at the start and every few seconds; `valid` says until when.

    A connection that is up lives on: the files are read at the next one.
    """

    def __init__(
        self,
        directory: Path,
        broker: EmbeddedBroker | ExternalBroker,
        life: dt.timedelta = pki.COORDINATOR_LIFE,
    ) -> None:
        """`directory` is the PKI's, `life` that of the coordinator's certificate. PkiError when the CA cannot be read."""
        self._directory, self._broker, self._life = directory, broker, life
        self._trust = pki.trust(directory)
        self._own = _usable(directory, self._trust)
        self._problems: dict[str, str] = {}

    async def care(self, now: dt.datetime) -> None:
        """Renew what is due; what cannot be is said once, and tried again."""
        for holder, renew in (("coordinator", self._renew), ("broker", self._broker.renew)):
            try:
                if await renew(now):
                    log.info("a certificate of its own is renewed", holder=holder, until=iso(self.valid()[holder][1]))
            except (pki.PkiError, OSError) as error:
                if self._problems.get(holder) != str(error):
                    self._problems[holder] = str(error)
                    log.error("a certificate of its own is not renewed", holder=holder, problem=str(error))  # noqa: TRY400 - in words
            else:
                self._problems.pop(holder, None)

    def trust(self, trust: Authority) -> None:
        """Which CAs are trusted from now on: what is of another is replaced by the next `care`."""
        self._trust, self._own = trust, _usable(self._directory, trust)

    def valid(self) -> dict[str, Valid]:
        """Of each holder, where it is known; the CA is the one that signs."""
        held = {"ca": _valid(self._trust.certificates[0]), "coordinator": self._own, "broker": self._broker.valid}
        return {holder: valid for holder, valid in held.items() if any(valid)}

    async def _renew(self, now: dt.datetime) -> bool:
        starts, ends = self._own
        # One of before it had a life of months counts as if it had that: it is replaced when it is older.
        if not is_due(
            starts, min(ends, starts + (self._life + authority.backdate(self._life)).total_seconds()), now.timestamp()
        ):
            return False
        pki.check(self._directory)
        pki.issue_coordinator(self._directory, now, self._life)
        self._own = _usable(self._directory, self._trust)
        return True


def _usable(directory: Path, trust: Authority) -> Valid:
    """When the coordinator's certificate is valid; zeros where it is not of a CA that is trusted, or not its key's.

    That is how a renewal leaves them that was cut off between the two files.
    """
    try:
        held = x509.load_pem_x509_certificate((directory / "coordinator.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / "coordinator.key").read_bytes(), password=None)
    except (UnsupportedAlgorithm, ValueError, TypeError):
        return 0.0, 0.0
    fits = key.public_key() == held.public_key() and any(is_issued_by(ca, held) for ca in trust.certificates)
    return _valid(held) if fits else (0.0, 0.0)


def _valid(certificate: x509.Certificate) -> Valid:
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
