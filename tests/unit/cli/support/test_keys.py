"""Which secrets of a host are known, so that they are found wherever they are shown."""

from __future__ import annotations

import datetime as dt
import io
import json
import tarfile
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from cli.support.keys import forms_of, held_in, places_of
from coordinator.broker import pki

NOW = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path


def test_every_key_of_a_pki_and_every_token(made: Path) -> None:
    (made / "pki" / "token").write_text("a-token-of-32-characters-or-more\n")
    found = held_in([made / "pki"], ["given-by-hand"])
    signing = (made / "pki" / pki.SIGNING_KEY).read_text().strip()
    assert {signing.encode(), bytes.fromhex(signing), b"a-token-of-32-characters-or-more", b"given-by-hand"} <= found
    for name in ("ca.key", "coordinator.key"):
        lines = (made / "pki" / name).read_bytes().splitlines()[1:-1]
        assert set(lines) <= found
    public = [(made / "pki" / name).read_bytes() for name in ("ca.pem", "coordinator.pem", "coordinator.pub")]
    assert not [form for form in found for text in public if form in text], "what is public is no secret"


def test_bundles_and_what_agents_made_themselves(made: Path) -> None:
    issued = pki.issue_agent(made / "pki", "dev", "dev-1", NOW)
    with tarfile.open(made / "dev-1.tar", "w") as tar:
        for name, data in (("agent.key", issued.key), ("agent.pem", issued.certificate)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    seed = SigningKey.generate().encode()
    (made / "agent.sign").write_bytes(msgspec.msgpack.encode({"certificate": b"x", "seed": seed, "proof": b"y"}))
    (made / "renewed.pem").write_bytes(pki.issue_agent(made / "pki", "dev", "dev-2", NOW).certificate + issued.key)
    (made / "broken.tar").write_bytes(b"no tar")
    (made / "broken.sign").write_bytes(b"\xc1")
    (made / "broken.key").write_bytes(b"-----BEGIN EC PRIVATE KEY-----\nbm90IGEga2V5LCBidXQgYSBsaW5l\n")
    found = held_in([made, made / "nowhere"])
    assert forms_of(seed) <= found
    assert set(issued.key.splitlines()[1:-1]) <= found
    assert b"bm90IGEga2V5LCBidXQgYSBsaW5l" in found


def test_what_is_too_short_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    assert held_in([tmp_path]) == set()


def test_the_keys_are_looked_for_where_the_broker_has_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert places_of(state) == [state, state / "pki", tmp_path, tmp_path / "pki"]
    (state / "broker").mkdir(parents=True)
    (state / "broker" / "broker.conf").write_text(json.dumps({"tls": {"key_file": "/etc/segwatch/pki/broker.key"}}))
    (tmp_path / "agent-1").mkdir()
    (tmp_path / "agent-1" / "agent.json").write_text("{}")
    assert places_of(state)[4:] == [Path("/etc/segwatch/pki"), tmp_path / "agent-1"]
