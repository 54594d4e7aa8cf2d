"""Whether a message is from the agent whose topic it came on: signed by a key that a certificate of this CA vouches for.

The broker is asked nothing: one that was captured could write to any topic.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from coordinator.messaging.reading import read
from wire.certificate_request import UNREADABLE, is_issued_by
from wire.certificates import agent_uri, read_uri
from wire.envelope import AnyUp, BadMessage
from wire.messages import Status
from wire.signing import PROOF, is_signed_up, split
from wire.topics import UpChannel, UpTopic

_NO_CERTIFICATE = (*UNREADABLE, CryptoError)


class NotBelieved(BadMessage):
    """It is not from the agent whose topic it came on, or its certificate is not in force."""


class NotKnownYet(BadMessage):
    """Nothing is wrong with the message but that the agent has not said yet by which key it signs: it says so soon."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """A key with the certificate behind it."""

    key: VerifyKey
    uri: str  # without its generation
    generation: int
    ends: dt.datetime
    said: tuple[bytes, bytes, bytes]
    ca: x509.Certificate


class Signers:
    """The keys of the agents, learned from their statuses."""

    def __init__(
        self, ca: bytes, clock: Callable[[], float], generation_of: Callable[[str], int] = lambda _: 0
    ) -> None:
        """`ca` is PEM, of one or more, `clock` gives epoch seconds.

        `generation_of` says from which generation on an agent's certificates are not revoked.
        """
        self._trusted = x509.load_pem_x509_certificates(ca)
        self._clock, self._generation_of = clock, generation_of
        self._known: dict[str, _Signer] = {}

    def trust(self, ca: bytes) -> None:
        """Believe certificates of these alone from now on, PEM."""
        self._trusted = x509.load_pem_x509_certificates(ca)

    async def open(self, topic: UpTopic, payload: bytes) -> AnyUp:
        """Read what came on a topic; BadMessage says why it is not believed."""
        sealed, signature = split(payload)
        message = await read(sealed) if topic.channel is UpChannel.STATUS else None
        known = self._known.get(topic.agent)
        if isinstance(message, Status) and (known is None or _said(message) != known.said):
            known = self._signer(topic, message)
        if known is None:
            raise NotKnownYet(f"'{topic.agent}' has not said yet by which key it signs")
        self._check(known, topic)
        if not is_signed_up(known.key, sealed, signature):
            raise NotBelieved(f"it is unsigned, altered or signed by a key other than that of '{topic.agent}'")
        self._known[topic.agent] = known
        if message is None:
            message = await read(sealed)
            self._check(known, topic)  # it may have been revoked meanwhile
        return message

    def _check(self, signer: _Signer, topic: UpTopic) -> None:
        if signer.uri != agent_uri(topic.environment, topic.agent):
            raise NotBelieved(f"'{topic.agent}' of '{topic.environment}' shows the certificate of {signer.uri}")
        if signer.generation < self._generation_of(topic.agent):
            raise NotBelieved(f"the certificate of '{topic.agent}' is revoked")
        if signer.ca not in self._trusted:
            raise NotBelieved(f"the certificate of '{topic.agent}' is of a CA that is not trusted any more")
        if self._clock() > signer.ends.timestamp():
            raise NotBelieved(f"the certificate of '{topic.agent}' has expired, on {signer.ends:%Y-%m-%d}")

    def _signer(self, topic: UpTopic, status: Status) -> _Signer:
        """What a status says, checked against the CA."""
        if not status.certificate:
            raise NotBelieved(f"'{topic.agent}' shows no certificate: it is older than this coordinator. Upgrade it")
        try:
            certificate = x509.load_der_x509_certificate(status.certificate)
            (ca,) = [each for each in self._trusted if is_issued_by(each, certificate)]
            public = certificate.public_key()
            if not isinstance(public, ec.EllipticCurvePublicKey):
                raise TypeError("not an EC key")
            public.verify(status.proof, PROOF + status.key, ec.ECDSA(hashes.SHA256()))
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
            environment, name, generation = read_uri(uri)
            key = VerifyKey(status.key)
        except _NO_CERTIFICATE as error:
            raise NotBelieved(
                f"what '{topic.agent}' signs with is not vouched for by a certificate of this CA"
            ) from error
        return _Signer(
            key, agent_uri(environment, name), generation, certificate.not_valid_after_utc, _said(status), ca
        )


def _said(status: Status) -> tuple[bytes, bytes, bytes]:
    return status.certificate, status.key, status.proof
