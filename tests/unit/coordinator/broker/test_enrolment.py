"""A second enrolment of a name ends the first."""

import datetime as dt
from pathlib import Path

import pytest

from coordinator.broker import enrolment, pki

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    pki.init(tmp_path, NOW)
    return tmp_path


def enrol(keys: Path) -> bool:
    return enrolment.stands(keys, "dev-1", enrolment.generation_for(keys, "dev-1", NOW), NOW)


def test_each_further_one_has_a_newer_generation_within_one_second_too(keys: Path) -> None:
    assert not enrol(keys)
    assert pki.revocations(keys) == {}
    for further in range(3):
        assert enrol(keys)
        assert pki.revocations(keys) == {"dev-1": int(NOW.timestamp()) + further}
    assert enrolment.generation_for(keys, "prod-1", NOW) == 0, "another's first one is not touched"


def test_the_first_after_a_revocation_takes_what_is_in_force(keys: Path) -> None:
    generation = pki.revoke(keys, "dev-1", NOW)
    assert enrolment.generation_for(keys, "dev-1", NOW) == generation
    assert not enrol(keys)


def test_one_that_was_revoked_meanwhile_does_not_stand(keys: Path) -> None:
    pki.revoke(keys, "dev-1", NOW)
    with pytest.raises(pki.PkiError, match="'dev-1' was revoked, or enrolled again, meanwhile"):
        enrolment.stands(keys, "dev-1", 0, NOW)


def test_a_record_that_cannot_be_read_enrols_nobody(keys: Path) -> None:
    (keys / enrolment.ENROLLED).write_text("{")
    with pytest.raises(pki.PkiError, match="enrolled.json cannot be read"):
        enrolment.generation_for(keys, "dev-1", NOW)
