"""A new CA in the place of the old one: what signs, what is trusted, who has come over, and what a cut leaves."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from coordinator.broker import authority, pki, rotation
from coordinator.broker.authority import Authority
from coordinator.broker.rotation import Rotation
from wire.certificate_request import is_issued_by
from wire.keyfiles import write_private

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)
AGENTS = ("dev-1", "prod-1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path / "pki"


def client(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.issue_agent(directory, "dev", "dev-1", NOW).certificate)


def server(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.server_certificate(directory, ("127.0.0.1",), NOW).certificate)


def test_clients_get_the_new_one_and_the_broker_shows_what_all_trust_until_it_is_finished(directory: Path) -> None:
    (old,) = pki.trust(directory).certificates
    held = rotation.begin(directory, NOW)
    new, still = held.certificates
    assert still == old
    assert new.subject != old.subject
    assert is_issued_by(new, client(directory))
    assert is_issued_by(old, server(directory)), "who knows the old one alone can connect"
    issued = pki.issue_agent(directory, "dev", "dev-1", NOW)
    assert x509.load_pem_x509_certificates(issued.trust) == [new, old]
    assert (directory / "ca.old.key").stat().st_mode & 0o777 == 0o600
    rotation.finish(directory, AGENTS, AGENTS)
    assert pki.trust(directory).certificates == (new,)
    assert is_issued_by(new, client(directory))
    assert is_issued_by(new, server(directory))
    assert not (directory / "ca.old.key").exists()


def test_twice_is_said_and_so_is_a_finish_of_nothing(directory: Path) -> None:
    with pytest.raises(pki.PkiError, match=r"holds one CA, [0-9a-f]{16} \(until .*: there is nothing to finish"):
        rotation.finish(directory, AGENTS)
    held = rotation.begin(directory, NOW)
    with pytest.raises(pki.PkiError, match=f"holds two CAs already: {rotation.name_of(held)}.* --finish"):
        rotation.begin(directory, NOW)
    assert pki.trust(directory).certificates == held.certificates


def test_one_that_was_cut_off_counts_for_nothing_and_is_begun_anew(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pki.trust(directory)

    def write(path: Path, data: bytes, mode: int = 0o600) -> None:
        if path.name == authority.KEY:
            raise OSError(28, "No space left on device")
        write_private(path, data, mode)

    with monkeypatch.context() as cut:
        cut.setattr("coordinator.broker.rotation.write_private", write)
        with pytest.raises(OSError, match="No space"):
            rotation.begin(directory, NOW)
    assert len(x509.load_pem_x509_certificates((directory / "ca.pem").read_bytes())) == 2
    held = pki.trust(directory)
    assert held.certificates == before.certificates
    assert not held.rotates
    assert is_issued_by(before.certificates[0], client(directory))
    assert rotation.begin(directory, NOW).certificates[1:] == before.certificates


def test_a_finish_that_was_cut_off_is_made_whole(directory: Path) -> None:
    rotation.begin(directory, NOW)
    kept = (directory / "ca.old.key").read_bytes()
    new = rotation.finish(directory, AGENTS, AGENTS)
    write_private(directory / "ca.old.key", kept)
    assert rotation.finish(directory, AGENTS).certificates == new.certificates
    assert not (directory / "ca.old.key").exists()


def watching(directory: Path) -> tuple[Rotation, list[Authority]]:
    taken: list[Authority] = []

    async def take(held: Authority) -> None:
        taken.append(held)

    return Rotation(directory, take), taken


def look(watched: Rotation) -> None:
    with capture_logs():
        asyncio.run(watched.look())


def test_a_running_coordinator_hears_of_both_and_keeps_who_has_come_over(directory: Path) -> None:
    watched, taken = watching(directory)
    before = watched.trust
    look(watched)
    watched.keep({"dev-1": ("", "")})
    assert not taken
    assert not (directory / "rotation.json").exists()
    assert not watched.lacks("dev-1")
    held = rotation.begin(directory, NOW)
    look(watched)
    look(watched)
    assert [each.certificates for each in taken] == [held.certificates]
    assert watched.trust != before
    new, old = rotation.name_of(held), rotation.name_of(held, 1)
    for said, word in (
        (("", ""), "version"),
        ((old, before), "certificate"),
        ((old, watched.trust), "certificate"),
        ((new, before), "trust"),
        ((new, watched.trust), ""),
    ):
        watched.keep({"dev-1": said})
        assert watched.lacks("dev-1") == word
    assert watched.lacks("prod-1") == "unheard"
    again, _ = watching(directory)
    assert (again.lacks("dev-1"), again.lacks("prod-1")) == ("", "unheard"), "it is known over a restart"
    with pytest.raises(pki.PkiError) as refused:
        rotation.finish(directory, AGENTS)
    assert "prod-1 was not heard of since the new CA is there" in str(refused.value)
    assert "dev-1" not in str(refused.value)
    assert "segwatch pki renew NAME" in str(refused.value)
    rotation.finish(directory, AGENTS, ["prod-1"])
    look(watched)
    assert [each.rotates for each in taken] == [True, False]
    assert not watched.lacks("prod-1")


def test_who_came_over_in_an_earlier_rotation_has_not_in_this_one(directory: Path) -> None:
    rotation.begin(directory, NOW)
    watched, _ = watching(directory)
    watched.keep({name: (rotation.name_of(watched.held), watched.trust) for name in AGENTS})
    kept = (directory / "rotation.json").read_bytes()
    rotation.finish(directory, AGENTS)
    rotation.begin(directory, NOW)
    (directory / "rotation.json").write_bytes(kept)
    assert rotation.lacks(directory, pki.trust(directory), AGENTS) == dict.fromkeys(AGENTS, "unheard")
    (directory / "rotation.json").write_text("nonsense")
    assert rotation.lacks(directory, pki.trust(directory), AGENTS) == dict.fromkeys(AGENTS, "unheard")


def test_what_cannot_be_read_is_refused_and_what_was_trusted_stays(directory: Path) -> None:
    watched, taken = watching(directory)
    (directory / "ca.pem").write_text("nonsense")
    with capture_logs() as said:
        asyncio.run(watched.look())
        asyncio.run(watched.look())
    assert [entry["log_level"] for entry in said] == ["error"]
    assert not taken
    (directory / "ca.pem").unlink()
    look(watched)
    assert len(watched.held.certificates) == 1


def test_a_key_of_another_ca_signs_nothing(directory: Path, tmp_path: Path) -> None:
    pki.init(tmp_path / "other", NOW)
    (directory / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(pki.PkiError, match=r"ca\.key is not the key of a certificate in ca\.pem"):
        client(directory)
