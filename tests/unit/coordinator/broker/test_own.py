"""The coordinator's own certificate by a clock of the test's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.external import ExternalBroker
from coordinator.broker.own import OwnCertificates
from reachability.topology import Topology

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path / "pki"


def own(directory: Path) -> OwnCertificates:
    broker = ExternalBroker(Topology({}), directory, "mqtts://broker.example", Listen("127.0.0.1", 8883))
    return OwnCertificates(directory, broker)


def shown(directory: Path) -> x509.Certificate:
    """What is connected with: a certificate of the CA with its own key."""
    held = x509.load_pem_x509_certificate((directory / "coordinator.pem").read_bytes())
    held.verify_directly_issued_by(x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes()))
    key = serialization.load_pem_private_key((directory / "coordinator.key").read_bytes(), password=None)
    assert key.public_key() == held.public_key()
    return held


@pytest.mark.asyncio
async def test_it_is_renewed_at_two_thirds_of_its_life_with_a_new_key(directory: Path) -> None:
    held, first = own(directory), shown(directory)
    assert first.not_valid_after_utc == NOW + 90 * DAY
    await held.care(NOW + 59 * DAY)
    assert shown(directory) == first
    with capture_logs() as said:
        await held.care(NOW + 60 * DAY)
        await held.care(NOW + 61 * DAY)
    second = shown(directory)
    assert second.public_key() != first.public_key()
    assert second.not_valid_after_utc == NOW + 150 * DAY
    (renewed,) = said
    assert (renewed["holder"], renewed["until"]) == ("coordinator", "2027-04-22T12:00:00.000Z")
    assert held.valid()["coordinator"][1] == second.not_valid_after_utc.timestamp()
    assert second.subject == first.subject, "to Mosquitto that is the user"
    assert (directory / "coordinator.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
async def test_one_of_ten_years_is_replaced_when_it_is_older_than_one_lives_now(directory: Path) -> None:
    pki.issue_coordinator(directory, NOW, 3650 * DAY)
    held = own(directory)
    await held.care(NOW + 59 * DAY)
    assert shown(directory).not_valid_after_utc == NOW + 3650 * DAY
    await held.care(NOW + 60 * DAY)
    assert shown(directory).not_valid_after_utc == NOW + 150 * DAY


@pytest.mark.asyncio
@pytest.mark.parametrize("days", [91, 1000])
async def test_one_that_ended_while_the_coordinator_was_off_is_renewed(directory: Path, days: int) -> None:
    await own(directory).care(NOW + days * DAY)
    assert shown(directory).not_valid_after_utc == NOW + (days + 90) * DAY


@pytest.mark.asyncio
async def test_a_clock_that_was_wrong_by_a_year_for_a_moment_leaves_none_that_is_not_valid_yet(directory: Path) -> None:
    held = own(directory)
    await held.care(NOW + 365 * DAY)
    await held.care(NOW)
    assert shown(directory).not_valid_before_utc <= NOW < shown(directory).not_valid_after_utc


def _other_key(directory: Path) -> None:
    kept = (directory / "coordinator.pem").read_bytes()
    pki.issue_coordinator(directory, NOW)
    (directory / "coordinator.pem").write_bytes(kept)


def _other_ca(directory: Path) -> None:
    pki.init(directory.parent / "other", NOW)
    for name in ("coordinator.pem", "coordinator.key"):
        (directory / name).write_bytes((directory.parent / "other" / name).read_bytes())


def _no_certificate(directory: Path) -> None:
    (directory / "coordinator.pem").write_text("torn")


@pytest.mark.asyncio
@pytest.mark.parametrize("spoil", [_other_key, _other_ca, _no_certificate])
async def test_a_renewal_that_was_cut_off_between_its_files_is_done_again(directory: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(directory)
    held = own(directory)
    assert "coordinator" not in held.valid()
    await held.care(NOW)
    shown(directory)
    assert held.valid()["coordinator"][1] == (NOW + 90 * DAY).timestamp()


@pytest.mark.asyncio
async def test_what_keeps_it_from_being_renewed_is_said_once_and_tried_again(directory: Path) -> None:
    held = own(directory)
    (directory / "ca.key").chmod(0o644)
    with capture_logs() as said:
        await held.care(NOW + 80 * DAY)
        await held.care(NOW + 80 * DAY)
    (problem,) = said
    assert problem["event"] == "a certificate of its own is not renewed"
    assert problem["holder"] == "coordinator"
    assert "chmod 600" in problem["problem"]
    (directory / "ca.key").chmod(0o600)
    await held.care(NOW + 80 * DAY)
    assert shown(directory).not_valid_after_utc == NOW + 170 * DAY


def test_a_ca_that_cannot_be_read_is_said_in_words(directory: Path) -> None:
    (directory / "ca.pem").write_text("torn")
    with pytest.raises(pki.PkiError, match="ca.pem is not a certificate: .* Restore it"):
        own(directory)
