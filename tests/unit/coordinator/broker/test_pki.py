import datetime as dt
import io
import tarfile
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.config import AgentConfig
from cli.agent.file import parse_agent_yaml
from coordinator.broker import pki
from coordinator.broker.addresses import Whereabouts
from coordinator.broker.bundle import allowed, make_bundle
from reachability.topology import DeclaredAgent, Environment, Probing, Topology
from wire.signing import read_verify_key

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
TOPOLOGY = Topology(
    {
        "dev": Environment(
            "dev", (ip_network("10.10.0.0/24"), ip_network("fd00:10::/64")), {"dev-1": DeclaredAgent("dev-1")}
        ),
        "prod": Environment("prod", (ip_network("10.30.0.0/24"),), {"prod-1": DeclaredAgent("prod-1")}),
    },
    probing=Probing(rate_pps=700),
)
NOWHERE: dict[str, list[str]] = {}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(tmp_path / "pki", NOW)
    return tmp_path / "pki"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_init_makes_keys_that_only_their_owner_reads(directory: Path) -> None:
    held = {path.name: mode(path) for path in directory.iterdir()}
    assert held == {
        "ca.key": 0o600,
        "ca.pem": 0o644,
        "coordinator.key": 0o600,
        "coordinator.pem": 0o644,
        "coordinator.signing.key": 0o600,
        "coordinator.pub": 0o644,
    }
    assert mode(directory) == 0o700
    assert pki.load_signing_key(directory).verify_key == read_verify_key((directory / "coordinator.pub").read_text())


def test_init_overwrites_nothing(directory: Path) -> None:
    before = (directory / "ca.key").read_bytes()
    with pytest.raises(pki.PkiError, match="already holds ca.pem"):
        pki.init(directory, NOW)
    assert (directory / "ca.key").read_bytes() == before


def test_an_agents_certificate_has_its_environment_inside_and_lasts_90_days(directory: Path) -> None:
    issued = pki.issue_agent(directory, "dev", "dev-1", NOW)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(ca)
    subject = certificate.subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "dev-1"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value == "dev"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["segwatch://agent/dev/dev-1"]
    assert certificate.not_valid_after_utc == NOW + dt.timedelta(days=90) == issued.expires
    assert certificate.not_valid_before_utc == NOW - dt.timedelta(days=1)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_brokers_certificate_names_where_it_listens(directory: Path) -> None:
    ends = pki.issue_server(directory, ("10.0.0.1", "fd00::1", "broker.example"), NOW)
    assert mode(directory / "broker.key") == 0o600
    parsed = x509.load_pem_x509_certificate((directory / "broker.pem").read_bytes())
    assert parsed.not_valid_after_utc == ends == NOW + dt.timedelta(days=90)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [pki.BROKER_NAME, "broker.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.1"), ip_address("fd00::1")]
    assert list(parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_a_directory_that_is_not_whole_is_said(directory: Path) -> None:
    with pytest.raises(pki.PkiError, match="holds no ca.pem, .*segwatch pki init"):
        pki.load_signing_key(directory / "nowhere")
    (directory / "ca.key").chmod(0o640)
    with pytest.raises(pki.PkiError, match="can be read by others. Fix it: chmod 600"):
        pki.issue_agent(directory, "dev", "dev-1", NOW)
    (directory / "ca.key").chmod(0o600)
    (directory / "coordinator.signing.key").write_text("nonsense")
    with pytest.raises(pki.PkiError, match="is not an Ed25519 key"):
        pki.load_signing_key(directory)


def test_a_bundle_holds_what_the_agent_needs(directory: Path) -> None:
    bundle = make_bundle(
        TOPOLOGY, "dev-1", broker="mqtts://192.0.2.1:8883", directory=directory, now=NOW, interfaces=NOWHERE
    )
    with tarfile.open(fileobj=io.BytesIO(bundle.tar)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [
            "agent.yaml",
            "agent.pem",
            "agent.key",
            "ca.pem",
            "coordinator.pub",
        ]
        assert {member.mode for member in members} == {0o600}
        held = tar.extractfile("agent.yaml")
        assert held is not None
        text = held.read()
    config = parse_agent_yaml(text, "agent.yaml")
    assert isinstance(config, AgentConfig)
    assert (config.name, config.environment, config.rate_pps) == ("dev-1", "dev", 700)
    assert config.allow == ("10.10.0.0/24", "fd00:10::/64", "10.30.0.0/24", "192.0.2.1")
    assert set(yaml.safe_load(text)) == {
        "name", "environment", "broker", "credentials", "allow", "deny", "rate_pps", "blackout",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("192.0.2.1", ("192.0.2.1", "fd00:99::1")),
        ("fd00:99::1", ("fd00:99::1", "192.0.2.1")),
        ("198.51.100.7", ("198.51.100.7",)),
    ],
)
def test_the_brokers_other_addresses_are_allowed_where_they_are_known(host: str, more: tuple[str, ...]) -> None:
    interfaces = {"eth0": ["192.0.2.1", "fd00:99::1"], "eth1": ["203.0.113.5"]}
    networks = ("10.10.0.0/24", "fd00:10::/64", "10.30.0.0/24")
    assert allowed(TOPOLOGY, [host], interfaces) == networks + more


def test_where_a_cluster_and_the_coordinator_are_is_allowed(directory: Path) -> None:
    bundle = make_bundle(
        TOPOLOGY,
        "dev-1",
        broker="mqtts://192.0.2.1:8883,192.0.2.2:8883",
        coordinator="192.0.2.9",
        directory=directory,
        now=NOW,
        interfaces=NOWHERE,
    )
    assert bundle.allow == ("10.10.0.0/24", "fd00:10::/64", "10.30.0.0/24", "192.0.2.1", "192.0.2.2", "192.0.2.9")


def test_a_bundle_leads_to_where_the_coordinator_that_ran_last_is_found(directory: Path) -> None:
    with pytest.raises(ValueError, match="no coordinator has run on these keys at an address of its own: say --broker"):
        make_bundle(TOPOLOGY, "dev-1", directory=directory, now=NOW, interfaces=NOWHERE)
    Whereabouts("mqtts://203.0.113.5:18883", ("203.0.113.5", "2001:db8::5")).leave(directory)
    bundle = make_bundle(TOPOLOGY, "dev-1", directory=directory, now=NOW, interfaces=NOWHERE)
    with tarfile.open(fileobj=io.BytesIO(bundle.tar)) as tar:
        held = tar.extractfile("agent.yaml")
        assert held is not None
        assert yaml.safe_load(held.read())["broker"] == "mqtts://203.0.113.5:18883"
    assert bundle.allow[3:] == ("203.0.113.5", "2001:db8::5")
    elsewhere = make_bundle(
        TOPOLOGY, "dev-1", broker="mqtts://192.0.2.1:8883", directory=directory, now=NOW, interfaces=NOWHERE
    )
    assert elsewhere.allow[3:] == ("192.0.2.1", "203.0.113.5", "2001:db8::5")


def test_a_host_whose_address_is_not_known_here_is_named(directory: Path) -> None:
    bundle = make_bundle(
        TOPOLOGY, "dev-1", broker="mqtts://broker.invalid:8883", directory=directory, now=NOW, interfaces=NOWHERE
    )
    assert (bundle.unresolved, len(bundle.allow)) == (("broker.invalid",), 3)


def test_an_agent_that_is_not_declared_has_no_bundle(directory: Path) -> None:
    with pytest.raises(KeyError):
        make_bundle(TOPOLOGY, "dev-9", broker="mqtts://192.0.2.1:8883", directory=directory, now=NOW)
    with pytest.raises(ValueError, match="is not mqtts"):
        make_bundle(TOPOLOGY, "dev-1", broker="192.0.2.1", directory=directory, now=NOW)
