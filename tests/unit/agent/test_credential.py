"""What the child that handles keys makes, takes and refuses, with real certificates."""

from __future__ import annotations

import base64
import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import credential
from agent.config import AgentConfig, ConfigError, ca_of, load, save
from agent.config import credential as files_of
from agent.credential import CredentialError
from agent.renewal import COMMAND, Held
from coordinator.broker import pki, rotation
from coordinator.broker.authority import BACKDATE, read
from tests.support.certificate_requests import CN, GOOD, KEY, OU, request_of
from wire.certificates import agent_uri, ca_name, trust_name

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
PEM, PLAIN = serialization.Encoding.PEM, serialization.NoEncryption()
CONFIG = AgentConfig(name="dev-1", environment="dev", broker="mqtts://127.0.0.1:1", allow=("10.0.0.0/8",))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An agent's state directory, with its PKI beside it."""
    pki.init(tmp_path / "pki", NOW)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    issued = pki.issue_agent(tmp_path / "pki", "dev", "dev-1", NOW)
    held = {"agent.pem": issued.certificate, "agent.key": issued.key}
    for name in ("ca.pem", "coordinator.pub"):
        held[name] = (tmp_path / "pki" / name).read_bytes()
    for name, data in held.items():
        (state / name).write_bytes(data)
        (state / name).chmod(0o600)
    save(CONFIG, state)
    return state


def signed(state: Path, uri: str = agent_uri("dev", "dev-1", 7), request: bytes | None = None) -> bytes:
    asked = credential.request(CONFIG, state) if request is None else request
    return pki.sign_request(state.parent / "pki", uri, asked, NOW).certificate


def test_what_is_held(site: Path) -> None:
    held = credential.look(load(site), site)
    assert held == Held(
        name="dev-1",
        environment="dev",
        generation=0,
        starts=(NOW - BACKDATE).timestamp(),
        ends=(NOW + dt.timedelta(days=90)).timestamp(),
        ca=ca_name(ca := read(site.parent / "pki").certificates[0].public_bytes(serialization.Encoding.DER)),
        trust=trust_name([ca]),
    )


def test_a_key_is_made_here_and_only_here(site: Path) -> None:
    request = credential.request(CONFIG, site)
    assert (site / "next.key").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in request
    taken = credential.take(CONFIG, site, signed(site, request=request))
    assert (taken.generation, taken.name) == (7, "dev-1")
    assert (site / "next.pem").stat().st_mode & 0o777 == 0o600
    assert not (site / "next.key").exists()
    key = serialization.load_pem_private_key((site / "next.pem").read_bytes(), password=None)
    certificate = x509.load_pem_x509_certificate((site / "next.pem").read_bytes())
    assert key.public_key() == certificate.public_key()


def test_the_renewed_one_goes_before_the_bundles(site: Path) -> None:
    assert files_of(CONFIG, site) == (site / "agent.pem", site / "agent.key")
    credential.take(CONFIG, site, signed(site))
    (site / "next.pem").rename(site / "renewed.pem")
    assert files_of(CONFIG, site) == (site / "renewed.pem", site / "renewed.pem")
    assert credential.look(load(site), site).generation == 7
    (site / "renewed.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="renewed.pem can be read by others. Fix it: chmod 600"):
        load(site)


def of_another_key(site: Path) -> bytes:
    early = signed(site)
    credential.request(CONFIG, site)
    return early


def of_another_ca(site: Path) -> bytes:
    other = site.parent / "other"
    pki.init(other, NOW)
    return pki.sign_request(other, agent_uri("dev", "dev-1"), credential.request(CONFIG, site), NOW).certificate


def of_another_agent(site: Path) -> bytes:
    request = credential.request(msgspec.structs.replace(CONFIG, environment="prod", name="prod-1"), site)
    return signed(site, agent_uri("prod", "prod-1"), request)


def of_nobody(site: Path) -> bytes:
    credential.request(CONFIG, site)
    return b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def of_a_strange_version(site: Path) -> bytes:
    der = x509.load_pem_x509_certificate(signed(site)).public_bytes(serialization.Encoding.DER)
    made = base64.encodebytes(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1))
    return b"-----BEGIN CERTIFICATE-----\n" + made + b"-----END CERTIFICATE-----\n"


def of_no_use(site: Path) -> bytes:
    """Of the CA, for the key, and for no purpose."""
    asked = x509.load_der_x509_csr(credential.request(CONFIG, site))
    ca = x509.load_pem_x509_certificate((site.parent / "pki" / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((site.parent / "pki" / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_uri("dev", "dev-1"))])
    builder = x509.CertificateBuilder().subject_name(asked.subject).issuer_name(ca.subject).serial_number(1)
    builder = builder.public_key(asked.public_key()).not_valid_before(NOW).not_valid_after(NOW + dt.timedelta(days=1))
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(PEM)


def of_a_server(site: Path) -> bytes:
    pki.issue_server(site.parent / "pki", ("127.0.0.1",))
    (site / "next.key").write_bytes((site.parent / "pki" / "broker.key").read_bytes())
    return (site.parent / "pki" / "broker.pem").read_bytes()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (of_another_key, "not for the key that was made for it"),
        (of_another_ca, "not of a CA that this agent trusts"),
        (of_another_agent, "the certificate is of prod-1 of prod"),
        (of_nobody, "the certificate cannot be read"),
        (of_a_server, "the certificate names no agent"),
        (of_a_strange_version, "the certificate cannot be read: 5 is not a valid X509 version"),
        (of_no_use, "the certificate is not for a client"),
    ],
)
def test_what_came_is_not_taken_for_its_word(site: Path, made: Callable[[Path], bytes], words: str) -> None:
    with pytest.raises(CredentialError, match=words):
        credential.take(CONFIG, site, made(site))
    assert not (site / "next.pem").exists()


def test_the_process_says_in_a_sentence_what_is_wrong(site: Path) -> None:
    done = subprocess.run([*COMMAND, "take", str(site)], input=b"nonsense", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"the certificate cannot be read")
    assert b"Traceback" not in done.stderr
    (site / "agent.key").chmod(0o644)
    done = subprocess.run([*COMMAND, "look", str(site)], capture_output=True, check=False)
    assert b"agent.key can be read by others. Fix it: chmod 600" in done.stderr
    (site / "agent.key").chmod(0o600)
    done = subprocess.run([*COMMAND, "request", str(site)], capture_output=True, check=True)
    assert x509.load_der_x509_csr(done.stdout).is_signature_valid
    assert COMMAND[0] == sys.executable


# -- what the coordinator signs ---------------------------------------------------------------------------------------


def test_a_request_is_granted_for_the_name_of_its_connection(site: Path) -> None:
    certificate = x509.load_pem_x509_certificate(signed(site))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["segwatch://agent/dev/dev-1/7"]
    assert certificate.not_valid_after_utc == NOW + dt.timedelta(days=90)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            request_of(KEY, (CN, "prod-1"), (OU, "prod")),
            "'dev-1' of 'dev' asks for a certificate of 'OU=prod,CN=prod-1'",
        ),
        (request_of(KEY, (CN, "dev-1"), (OU, "prod")), "asks for a certificate of"),
        (request_of(KEY, (CN, "dev-1"), (OU, "dev"), (CN, "prod-1")), "asks for a certificate of"),
        (request_of(KEY), "asks for a certificate of"),
        (request_of(ec.generate_private_key(ec.SECP384R1()), (CN, "dev-1"), (OU, "dev")), "not of P-256"),
        (GOOD[:-2] + bytes([GOOD[-2] ^ 1, GOOD[-1]]), "not signed with its own key|cannot be read"),
        (GOOD.replace(b"\x02\x01\x00", b"\x02\x01\x07", 1), "cannot be read: 7 is not a valid CSR version"),
        (b"", "cannot be read"),
        (b"nonsense", "cannot be read"),
        (GOOD + b"\0" * 5000, "bytes; 4096 are taken"),
        (request_of(KEY, (CN, "dev-1\x1b[2J\n"), (OU, "dev")), r"OU=dev,CN=dev-1[^\x1b\n]+'"),
        (request_of(KEY, *((CN, "x" * 60),) * 40), r"of '.{200}'\Z"),
    ],
)
def test_a_request_that_is_not_granted(site: Path, request_: bytes, words: str) -> None:
    with pytest.raises(pki.RequestRefused, match=words):
        signed(site, request=request_)


def test_a_request_asks_for_no_rights(site: Path) -> None:
    """An agent that asks to be a CA, or another's name, gets what every agent gets."""
    subject = x509.Name([x509.NameAttribute(CN, "dev-1"), x509.NameAttribute(OU, "dev")])
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.COORDINATOR_URI)]), critical=False
        )
        .sign(KEY, hashes.SHA256())
    )
    certificate = x509.load_pem_x509_certificate(signed(site, request=asked.public_bytes(serialization.Encoding.DER)))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [agent_uri("dev", "dev-1", 7)]


def test_what_an_agent_is_given_is_its_own(site: Path) -> None:
    pem, key = (site / "agent.pem").read_bytes(), (site / "agent.key").read_bytes()
    credential.check_given(CONFIG, pem, key)
    other = msgspec.structs.replace(CONFIG, name="dev-2")
    for config, certificate, private, words in (
        (other, pem, key, "its certificate is of dev-1 of dev, its configuration of dev-2 of dev"),
        (
            CONFIG,
            pem,
            KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN),
            "not the one of its certificate",
        ),
        (CONFIG, pem, b"", "its key is not a private key in PEM"),
        (CONFIG, key, key, "its certificate is not one in PEM"),
        (CONFIG, (site / "ca.pem").read_bytes(), key, "the certificate names no agent"),
    ):
        with pytest.raises(CredentialError, match=words):
            credential.check_given(config, certificate, private)


def test_the_cas_that_come_with_it_are_left_to_be_tried(site: Path) -> None:
    directory = site.parent / "pki"
    held = rotation.begin(directory, NOW)
    issued = pki.sign_request(directory, agent_uri("dev", "dev-1"), credential.request(CONFIG, site), NOW)
    before = credential.look(CONFIG, site)
    with pytest.raises(CredentialError, match="not of a CA that this agent trusts"):
        credential.take(CONFIG, site, issued.certificate)
    taken = credential.take(CONFIG, site, issued.certificate + issued.trust)
    assert taken.ca == rotation.name_of(held)
    assert before.ca == rotation.name_of(held, 1)
    assert before.trust != taken.trust
    assert ca_of(CONFIG, site) == site / "ca.pem"
    tried = ca_of(CONFIG, site, tried=True)
    assert x509.load_pem_x509_certificates(tried.read_bytes()) == list(held.certificates)
    tried.replace(site / "trust.pem")
    assert ca_of(CONFIG, site) == ca_of(CONFIG, site, tried=True) == site / "trust.pem"
    request = credential.request(CONFIG, site)
    assert credential.take(CONFIG, site, signed(site, request=request)).trust == taken.trust, "none came: these stay"
