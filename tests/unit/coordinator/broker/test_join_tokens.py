"""The life of a one-time token, on a clock of the test's own."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from coordinator.broker import enrolment, pki
from coordinator.broker.join_tokens import LINGER_S, make, redeem, waits
from tests.support.joins import ask
from wire import joining

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
AGENTS = {"dev-1": "dev", "prod-1": "prod"}
OURS, THEIRS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path / "pki"


def token(keys: Path, now: dt.datetime = NOW) -> joining.Token:
    return joining.read_token(make(keys, "dev", "dev-1", now, HOUR))


def uri(pem: bytes) -> str:
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)[0]


def test_it_gets_a_certificate_for_the_hosts_own_key(keys: Path) -> None:
    made = token(keys)
    pem = redeem(keys, ask(made, OURS), AGENTS, NOW + HOUR / 2)
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.public_key() == OURS.public_key()
    assert uri(pem) == "segwatch://agent/dev/dev-1"
    assert certificate.not_valid_after_utc == NOW + HOUR / 2 + pki.AGENT_LIFE


def test_it_opens_nothing_but_the_way_of_joining_and_pins_the_ca(keys: Path) -> None:
    made = token(keys)
    assert made.ca == (keys / "ca.pem").read_bytes()
    assert uri(made.certificate) == joining.URI
    assert x509.load_pem_x509_certificate(made.certificate).not_valid_after_utc == NOW + HOUR


def test_used_twice_it_gives_the_second_host_nothing_and_says_so(keys: Path) -> None:
    made = token(keys)
    first = redeem(keys, ask(made, OURS), AGENTS, NOW)
    with pytest.raises(
        pki.RequestRefused, match=r"was used at 2026-12-01 12:00:00 UTC, for another key.*pki revoke dev-1"
    ):
        redeem(keys, ask(made, THEIRS), AGENTS, NOW)
    assert redeem(keys, ask(made, OURS), AGENTS, NOW + HOUR * 2) == first, "an answer that was lost"


def test_it_expires(keys: Path) -> None:
    made = token(keys)
    with pytest.raises(pki.RequestRefused, match=r"expired at 2026-12-01 13:00:00 UTC.*pki join-token dev-1"):
        redeem(keys, ask(made, OURS), AGENTS, NOW + HOUR)
    redeem(keys, ask(made, OURS), AGENTS, NOW + HOUR - dt.timedelta(seconds=1))


def test_it_is_for_its_name_alone(keys: Path) -> None:
    made = token(keys)
    make(keys, "prod", "prod-1", NOW, HOUR)
    with pytest.raises(pki.RequestRefused, match="asks for a certificate of"):
        redeem(keys, ask(made, OURS, name="prod-1"), AGENTS, NOW)
    with pytest.raises(pki.RequestRefused, match="not known here"):
        redeem(keys, ask(made, OURS, name="prod-1", agent="prod-1"), AGENTS, NOW)
    with pytest.raises(pki.RequestRefused, match="no agent 'dev-1' in 'dev' any more"):
        redeem(keys, ask(made, OURS), {"dev-1": "prod"}, NOW)
    redeem(keys, ask(made, OURS), AGENTS, NOW)


def test_a_newer_one_and_a_revocation_make_it_void(keys: Path) -> None:
    old, new = token(keys), token(keys)
    with pytest.raises(pki.RequestRefused, match="a newer one was made"):
        redeem(keys, ask(old, OURS), AGENTS, NOW)
    pki.revoke(keys, "dev-1", NOW)
    with pytest.raises(pki.RequestRefused, match="was revoked or enrolled after the token was made"):
        redeem(keys, ask(new, OURS), AGENTS, NOW)


def test_who_reads_what_is_kept_cannot_use_it(keys: Path) -> None:
    made = token(keys)
    kept = keys / "joins" / "dev-1.json"
    assert kept.stat().st_mode & 0o077 == 0
    for secret in (made.seed, made.key):
        assert secret not in kept.read_bytes()
        assert secret.hex().encode() not in kept.read_bytes()
    with pytest.raises(pki.RequestRefused, match="not signed with the token"):
        redeem(keys, ask(made, OURS, seed=bytes(32)), AGENTS, NOW)


def test_a_broker_cannot_put_another_key_into_a_request(keys: Path) -> None:
    made = token(keys)
    theirs, ours = ask(made, THEIRS, seed=bytes(32)), ask(made, OURS)
    with pytest.raises(pki.RequestRefused, match="not signed with the token"):
        redeem(keys, ours[: joining.SIGNATURE] + theirs[joining.SIGNATURE :], AGENTS, NOW)


def test_use_and_certificate_are_one_write(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = token(keys)
    with monkeypatch.context() as full:
        full.setattr("coordinator.broker.join_tokens.write_private", _full)
        with pytest.raises(OSError, match="No space left"):
            redeem(keys, ask(made, OURS), AGENTS, NOW)
    assert redeem(keys, ask(made, THEIRS), AGENTS, NOW), "it was not used"


def test_a_second_enrolment_ends_the_first_and_a_first_one_nothing(keys: Path) -> None:
    redeem(keys, ask(token(keys), OURS), AGENTS, NOW)
    assert pki.revocations(keys) == {}
    later = NOW + HOUR
    pem = redeem(keys, ask(token(keys, later), THEIRS), AGENTS, later)
    assert pki.revocations(keys) == {"dev-1": int(later.timestamp())}
    assert uri(pem) == f"segwatch://agent/dev/dev-1/{int(later.timestamp())}"


def test_what_a_crash_left_undone_is_done_when_the_host_asks_again(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redeem(keys, ask(token(keys), OURS), AGENTS, NOW)
    later = NOW + HOUR
    made = token(keys, later)
    with monkeypatch.context() as crash:
        crash.setattr("coordinator.broker.enrolment.pki.revoke", _full)
        with pytest.raises(OSError, match="No space left"):
            redeem(keys, ask(made, THEIRS), AGENTS, later)
    pem = redeem(keys, ask(made, THEIRS), AGENTS, later + HOUR / 60)
    assert uri(pem) == f"segwatch://agent/dev/dev-1/{pki.revocations(keys)['dev-1']}"


def test_the_door_is_open_while_one_waits_and_a_minute_after_its_use(keys: Path) -> None:
    assert not waits(keys, NOW.timestamp())
    made = token(keys)
    assert waits(keys, NOW.timestamp())
    assert not waits(keys, (NOW + HOUR).timestamp())
    redeem(keys, ask(made, OURS), AGENTS, NOW)
    assert waits(keys, NOW.timestamp() + LINGER_S - 1)
    assert not waits(keys, NOW.timestamp() + LINGER_S)


@pytest.mark.parametrize("wanted", [b"", b"\x30\x00", b"x" * 5000])
def test_a_request_that_is_none(keys: Path, wanted: bytes) -> None:
    made = token(keys)
    payload = joining.sign_ask(
        SigningKey(made.seed), joining.Ask(token=made.id, agent="dev-1", nonce=b"", request=wanted, broker="")
    )
    with pytest.raises(pki.RequestRefused, match="the request"):
        redeem(keys, payload, AGENTS, NOW)
    assert enrolment.generation_for(keys, "dev-1", NOW) == 0


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
