"""What a host that enrols itself takes for its certificate."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.joining import JoinError, _check
from coordinator.broker import pki
from coordinator.broker.join_tokens import make, redeem
from tests.support.joins import ask
from wire import joining
from wire.certificate_request import new_key

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)
OURS, THEIRS = new_key(), new_key()


def granted(directory: Path) -> tuple[joining.Token, bytes]:
    """A token of new keys, and the certificate that it gets for our key."""
    pki.init(directory, NOW)
    token = joining.read_token(make(directory, "dev", "dev-1", NOW, dt.timedelta(hours=1)))
    return token, redeem(directory, ask(token, OURS), {"dev-1": "dev"}, NOW)


def test_it_takes_one_of_the_tokens_ca_for_its_own_key_alone(tmp_path: Path) -> None:
    token, certificate = granted(tmp_path / "a")
    _, others = granted(tmp_path / "b")
    _check(token.ca, certificate, OURS)
    with pytest.raises(JoinError, match="is for another key"):
        _check(token.ca, certificate, THEIRS)
    der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    strange = base64.encodebytes(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1))  # of a version 6
    strange = b"-----BEGIN CERTIFICATE-----\n" + strange + b"-----END CERTIFICATE-----\n"
    for pem in (others, b"", b"nonsense", strange):
        with pytest.raises(JoinError, match="is not a certificate of the CA that it names"):
            _check(token.ca, pem, OURS)
