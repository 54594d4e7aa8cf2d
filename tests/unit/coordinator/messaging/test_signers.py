"""What an agent sends is believed for its certificate's sake, whatever the broker that brought it says."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import coordinator.messaging.signers
from agent import upkey
from agent.config import AgentConfig, ConfigError, Credentials
from coordinator.broker import pki, rotation
from coordinator.messaging.signers import NotKnownYet, Signers
from wire.envelope import AnyUp, BadMessage, OtherVersion, pack_up
from wire.messages import Batch, Done, Status
from wire.signing import sign_up
from wire.topics import UpChannel, UpTopic

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
STATUS = UpTopic("dev", "dev-1", UpChannel.STATUS)
ROUND, OBSERVATIONS = UpTopic("dev", "dev-1", UpChannel.ROUND), UpTopic("dev", "dev-1", UpChannel.OBSERVATIONS)
CONFIG = AgentConfig(
    name="dev-1", environment="dev", broker="mqtts://h", credentials=Credentials(), allow=("10.0.0.0/8",)
)
DONE = Done(round="r", agent="dev-1", sequence=1)


class Estate:
    """A CA, and the keys of whoever asks."""

    def __init__(self, directory: Path, name: str = "pki") -> None:
        self.pki, self.directory = directory / name, directory
        pki.init(self.pki, NOW)
        self.now = NOW
        self.signers = Signers((self.pki / "ca.pem").read_bytes(), self.clock)

    def clock(self) -> float:
        return self.now.timestamp()

    def open(self, topic: UpTopic, payload: bytes) -> AnyUp:
        return asyncio.run(self.signers.open(topic, payload))

    def key(self, environment: str = "dev", agent: str = "dev-1") -> upkey.UpKey:
        issued = pki.issue_agent(self.pki, environment, agent, NOW)
        certificate, key = self.directory / "agent.pem", self.directory / "agent.key"
        certificate.write_bytes(issued.certificate)
        key.write_bytes(issued.key)
        upkey.make(certificate, key, self.directory / upkey.FILE)
        return upkey.load(CONFIG, self.directory)


def status(up: upkey.UpKey, /, **other: bytes) -> Status:
    shown = {"certificate": up.certificate, "key": up.signing.verify_key.encode(), "proof": up.proof, **other}
    return Status(name="dev-1", environment="dev", online=True, **shown)  # type: ignore[arg-type]


def signed(key: upkey.UpKey, message: AnyUp) -> bytes:
    return sign_up(key.signing, pack_up(message))


def test_a_key_is_learned_from_the_status_and_holds_for_all(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    with pytest.raises(NotKnownYet, match="'dev-1' has not said yet"):
        estate.open(ROUND, signed(key, DONE))
    assert estate.open(STATUS, signed(key, status(key))) == status(key)
    assert estate.open(ROUND, signed(key, DONE)) == DONE
    batch = Batch(spool="s", sequence=1, age_s=0.0)
    assert estate.open(OBSERVATIONS, signed(key, batch)) == batch


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]), "unsigned, altered or signed by a key other"),
        (lambda payload: payload[:2] + b"\0" * 64 + payload[66:], "unsigned, altered"),
        (lambda payload: payload[:30], "is not signed"),
        (lambda _: pack_up(Batch(spool="s" * 99, sequence=1, age_s=0.0)), "unsigned, altered"),
    ],
)
def test_what_a_broker_makes_up_is_refused(tmp_path: Path, alter: Callable[[bytes], bytes], words: str) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    estate.open(STATUS, signed(key, status(key)))
    with pytest.raises(BadMessage, match=words):
        estate.open(ROUND, alter(signed(key, DONE)))
    assert estate.open(ROUND, signed(key, DONE)) == DONE, "one that is good is taken after it"


def test_one_agents_words_do_not_pass_for_anothers(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    mine, theirs = estate.key("prod", "prod-1"), estate.key()
    estate.open(STATUS, signed(theirs, status(theirs)))
    with pytest.raises(BadMessage, match="signed by a key other than that of 'dev-1'"):
        estate.open(ROUND, signed(mine, DONE))
    with pytest.raises(BadMessage, match="'dev-1' of 'dev' shows the certificate of segwatch://agent/prod/prod-1"):
        estate.open(STATUS, signed(mine, status(mine)))
    with pytest.raises(BadMessage, match="signed by a key other"):
        estate.open(STATUS, signed(mine, status(theirs)))
    assert estate.open(ROUND, signed(theirs, DONE)) == DONE, "a forged status changes nothing"


def test_a_key_that_the_certificate_does_not_vouch_for(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key, other = estate.key(), estate.key()
    stolen = status(key, key=other.signing.verify_key.encode())
    with pytest.raises(BadMessage, match="not vouched for by a certificate of this CA"):
        estate.open(STATUS, signed(other, stolen))


@pytest.mark.parametrize("field", ["certificate", "key", "proof"])
def test_a_status_that_shows_nonsense(tmp_path: Path, field: str) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    with pytest.raises(BadMessage, match="not vouched for by a certificate of this CA"):
        estate.open(STATUS, signed(key, status(key, **{field: b"nonsense"})))


def test_a_certificate_of_another_ca(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = Estate(tmp_path, "other").key()
    with pytest.raises(BadMessage, match="not vouched for by a certificate of this CA"):
        estate.open(STATUS, signed(key, status(key)))


def test_an_expired_certificate_and_its_successor(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    estate.open(STATUS, signed(key, status(key)))
    estate.now += pki.AGENT_LIFE + dt.timedelta(seconds=1)
    with pytest.raises(BadMessage, match="the certificate of 'dev-1' has expired, on 2027-"):
        estate.open(ROUND, signed(key, DONE))
    estate.now = NOW
    renewed = estate.key()
    estate.open(STATUS, signed(renewed, status(renewed)))
    assert estate.open(ROUND, signed(renewed, DONE)) == DONE
    with pytest.raises(BadMessage, match="signed by a key other"):
        estate.open(ROUND, signed(key, DONE))


def test_an_agent_of_before_signatures_is_refused_in_words(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    bare = Status(name="dev-1", environment="dev", online=True)
    with pytest.raises(BadMessage, match="shows no certificate: it is older than this coordinator"):
        estate.open(STATUS, signed(key, bare))
    with pytest.raises(BadMessage):
        estate.open(STATUS, pack_up(bare))
    with pytest.raises(OtherVersion, match="schema version 2"):
        estate.open(STATUS, b"\2" + signed(key, bare)[1:])


def test_the_key_is_made_once_a_certificate_and_by_a_process_that_ends(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    first = estate.key()
    assert upkey.load(CONFIG, tmp_path) == first
    assert first.certificate == ssl.PEM_cert_to_DER_cert((tmp_path / "agent.pem").read_text())
    assert (tmp_path / upkey.FILE).stat().st_mode & 0o777 == 0o600
    issued = pki.issue_agent(estate.pki, "dev", "dev-1", NOW)
    (tmp_path / "agent.pem").write_bytes(issued.certificate)
    (tmp_path / "agent.key").write_bytes(issued.key)
    second = upkey.load(CONFIG, tmp_path)
    assert second.seed != first.seed
    assert estate.open(STATUS, signed(second, status(second)))
    (tmp_path / upkey.FILE).write_bytes(b"torn")
    assert upkey.load(CONFIG, tmp_path).certificate == second.certificate


@pytest.mark.parametrize(("name", "held"), [("agent.key", b"no key"), ("agent.pem", b"no certificate")])
def test_credentials_that_cannot_sign_are_said(tmp_path: Path, name: str, held: bytes) -> None:
    estate = Estate(tmp_path)
    estate.key()
    (tmp_path / upkey.FILE).unlink()
    (tmp_path / name).write_bytes(held)
    with pytest.raises(ConfigError, match="agent.sign cannot be made"):
        upkey.load(CONFIG, tmp_path)


def test_a_signed_status_still_ignores_what_it_does_not_know(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    fields = msgspec.to_builtins(status(key), builtin_types=(bytes,)) | {"of_a_later_version": [1]}
    from wire.envelope import seal

    payload = sign_up(key.signing, seal(msgspec.msgpack.encode(fields)))
    assert estate.open(STATUS, payload) == status(key)


def test_what_a_revoked_certificate_vouches_for_is_not_believed(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    held: dict[str, int] = {}
    signers = Signers((estate.pki / "ca.pem").read_bytes(), estate.clock, lambda agent: held.get(agent, 0))
    assert asyncio.run(signers.open(STATUS, signed(key, status(key))))
    held["dev-1"] = pki.revoke(estate.pki, "dev-1", NOW)
    for message in (status(key), DONE):
        with pytest.raises(BadMessage, match="the certificate of 'dev-1' is revoked"):
            asyncio.run(signers.open(STATUS if isinstance(message, Status) else ROUND, signed(key, message)))
    newer = estate.key()
    assert asyncio.run(signers.open(STATUS, signed(newer, status(newer))))
    assert asyncio.run(signers.open(ROUND, signed(newer, DONE))) == DONE


def test_one_that_is_revoked_while_its_words_are_read_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate = Estate(tmp_path)
    key = estate.key()
    held: dict[str, int] = {}
    signers = Signers((estate.pki / "ca.pem").read_bytes(), estate.clock, lambda agent: held.get(agent, 0))
    asyncio.run(signers.open(STATUS, signed(key, status(key))))

    async def reading(_: bytes) -> AnyUp:
        held["dev-1"] = 1
        return DONE

    monkeypatch.setattr(coordinator.messaging.signers, "read", reading)
    with pytest.raises(BadMessage, match="the certificate of 'dev-1' is revoked"):
        asyncio.run(signers.open(ROUND, signed(key, DONE)))


def test_while_the_ca_is_rotated_both_are_believed_and_then_the_new_one_alone(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    old = estate.key()
    estate.open(STATUS, signed(old, status(old)))
    rotation.begin(estate.pki, NOW)
    estate.signers.trust(pki.trust(estate.pki).pem)
    assert estate.open(ROUND, signed(old, DONE)) == DONE
    new = estate.key()
    estate.open(STATUS, signed(new, status(new)))
    estate.open(STATUS, signed(old, status(old)))
    rotation.finish(estate.pki, ["dev-1"], ["dev-1"])
    estate.signers.trust(pki.trust(estate.pki).pem)
    with pytest.raises(BadMessage, match="the certificate of 'dev-1' is of a CA that is not trusted any more"):
        estate.open(ROUND, signed(old, DONE))
    with pytest.raises(BadMessage, match="not vouched for by a certificate of this CA"):
        estate.open(STATUS, signed(old, msgspec.structs.replace(status(old), proof=b"other")))
    estate.open(STATUS, signed(new, status(new)))
    assert estate.open(ROUND, signed(new, DONE)) == DONE
