import datetime as dt
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography import x509

from agent.bundle import read_bundle
from cli.commands.pki import command
from coordinator.broker.addresses import Whereabouts
from coordinator.broker.pki import revocations
from wire.joining import read_token

TOPOLOGY = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {}}
"""


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("topology.yaml").write_text(TOPOLOGY)
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(command, line.split())


def bundle(name: str = "dev-1", broker: str = "mqtts://192.0.2.1:8883", out: str = "b.tar") -> Result:
    return run(f"agent {name} --dir pki -f topology.yaml --broker {broker} --out {out}")


@pytest.mark.usefixtures("estate")
def test_by_hand() -> None:
    made = run("init --dir pki -f topology.yaml")
    assert made.exit_code == 0, made.output
    assert "for each of dev-1, prod-1" in made.output
    bundled = bundle()
    assert bundled.exit_code == 0, bundled.output
    assert "b.tar: dev-1 of dev, until " in bundled.output
    assert "segwatch agent --bundle b.tar --state-dir DIR" in bundled.output
    assert Path("b.tar").stat().st_mode & 0o777 == 0o600
    assert set(read_bundle(Path("b.tar"))) == {"agent.yaml", "agent.pem", "agent.key", "ca.pem", "coordinator.pub"}


@pytest.mark.usefixtures("estate")
def test_nothing_is_overwritten() -> None:
    run("init --dir pki -f topology.yaml")
    again = run("init --dir pki -f topology.yaml")
    assert again.exit_code == 2
    assert "pki already holds ca.pem" in again.output


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "dev-2"}, "topology.yaml declares no agent 'dev-2'; did you mean 'dev-1'?"),
        ({"name": "xyz"}, "declares no agent 'xyz'; it declares dev-1, prod-1."),
        ({"broker": "192.0.2.1"}, "'192.0.2.1' is not mqtts://HOST:PORT"),
        ({"out": "nowhere/b.tar"}, "nowhere/b.tar: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, str], words: str) -> None:
    run("init --dir pki -f topology.yaml")
    result = bundle(**arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.usefixtures("estate")
def test_no_pki_and_no_topology() -> None:
    assert "segwatch pki init --dir pki" in bundle().output
    Path("topology.yaml").write_text(TOPOLOGY.replace("agents", "agent"))
    broken = run("init --dir pki -f topology.yaml")
    assert broken.exit_code == 2
    assert "the topology has 2 errors:" in broken.output
    assert "topology.yaml:5:5: " in broken.output


@pytest.mark.usefixtures("estate")
def test_revoke_and_renew_by_hand() -> None:
    run("init --dir pki -f topology.yaml")
    bundle()
    revoked = run("revoke dev-1 --dir pki -f topology.yaml")
    assert revoked.exit_code == 0, revoked.output
    assert "dev-1 of dev: every certificate that it has so far is refused from now on." in revoked.output
    assert "segwatch pki agent dev-1 --dir pki -f topology.yaml" in revoked.output
    assert set(revocations(Path("pki"))) == {"dev-1"}
    stolen = read_bundle(Path("b.tar"))["agent.pem"]
    renewed = run("renew dev-1 --dir pki -f topology.yaml --broker mqtts://192.0.2.1:8883 --out b.tar --life 30d")
    assert renewed.exit_code == 0, renewed.output
    new = x509.load_pem_x509_certificate(read_bundle(Path("b.tar"))["agent.pem"])
    assert new != x509.load_pem_x509_certificate(stolen)
    life = new.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < life <= dt.timedelta(days=30)


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("revoke dev-2 --dir pki -f topology.yaml", "declares no agent 'dev-2'; did you mean 'dev-1'?"),
        ("revoke dev-1 --dir nowhere -f topology.yaml", "nowhere holds no ca.pem"),
        ("renew dev-1 --dir pki -f topology.yaml --broker mqtts://h --out b.tar --life 90", "is not a duration"),
        ("renew dev-1 --dir pki -f topology.yaml --broker mqtts://h --out b.tar --life 1s", "at least 10 s"),
    ],
)
def test_what_is_wrong_with_it_is_said(line: str, words: str) -> None:
    run("init --dir pki -f topology.yaml")
    result = run(line)
    assert result.exit_code == 2
    assert words in result.output
    assert not Path("b.tar").exists()


@pytest.mark.usefixtures("estate")
def test_a_directory_that_others_can_write_is_refused_from_the_first_moment_on() -> None:
    Path("open").mkdir()
    Path("open").chmod(0o777)
    made = run("init --dir open/pki -f topology.yaml")
    assert made.exit_code == 2
    assert "open can be written by others, who could replace the keys in open/pki. Fix it: chmod go-w" in made.output
    assert not list(Path("open/pki").iterdir())
    run("init --dir pki -f topology.yaml")
    Path("pki").chmod(0o770)
    refused = bundle()
    assert refused.exit_code == 2
    assert "Fix it: chmod go-w" in refused.output


def broker(
    kind: str = "mosquitto", listen: str = "192.0.2.1:8883", out: str = "b", pki: str = "pki", more: str = ""
) -> Result:
    return run(f"broker --kind {kind} --dir {pki} -f topology.yaml --listen {listen} --out {out} {more}")


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("mosquitto", {"mosquitto.conf", "acl"}),
        ("rabbitmq", {"rabbitmq.conf", "advanced.config", "enabled_plugins", "definitions.json"}),
        ("nats", {"nats.conf"}),
    ],
)
def test_a_brokers_configuration(kind: str, files: set[str]) -> None:
    run("init --dir pki -f topology.yaml")
    made = broker(kind, more="--at /etc/broker")
    assert made.exit_code == 0, made.output
    assert f"b: {kind} for the coordinator and 2 agents, until " in made.output
    assert "/etc/broker/" in made.output
    assert "segwatch coordinator --broker mqtts://HOST:8883" in made.output
    written = {path.name: path for path in Path("b").iterdir()}
    assert set(written) == {"broker.pem", "broker.key", "ca.pem", *files}
    assert written["broker.key"].stat().st_mode & 0o777 == 0o600
    text = "".join(written[name].read_text() for name in files)
    assert "/etc/broker/broker.pem" in text
    assert str(Path.cwd()) not in text
    again = broker(kind)
    assert again.exit_code == 0, "agents come and go: it is written anew"


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("kind", "file", "before", "after"),
    [
        ("mosquitto", "acl", "user OU=dev,CN=dev-1\n", "user serialNumber={},OU=dev,CN=dev-1\n"),
        ("rabbitmq", "definitions.json", '"segwatch://agent/dev/dev-1"', '"segwatch://agent/dev/dev-1/{}"'),
        ("nats", "nats.conf", '"segwatch://agent/dev/dev-1"', '"segwatch://agent/dev/dev-1/{}"'),
    ],
)
def test_a_brokers_configuration_leaves_out_what_is_revoked(kind: str, file: str, before: str, after: str) -> None:
    run("init --dir pki -f topology.yaml")
    broker(kind)
    text = (Path("b") / file).read_text()
    run("revoke dev-1 --dir pki -f topology.yaml")
    broker(kind)
    assert before in text
    generation = revocations(Path("pki"))["dev-1"]
    assert (Path("b") / file).read_text() == text.replace(before, after.format(generation))


@pytest.mark.usefixtures("estate")
def test_a_bundle_of_a_short_life_for_a_coordinator_elsewhere() -> None:
    run("init --dir pki -f topology.yaml")
    made = run(
        "agent dev-1 --dir pki -f topology.yaml --broker mqtts://192.0.2.1,192.0.2.2 --coordinator 192.0.2.9 --life 30d"
        " --out b.tar"
    )
    assert made.exit_code == 0, made.output
    files = read_bundle(Path("b.tar"))
    ends = x509.load_pem_x509_certificate(files["agent.pem"]).not_valid_after_utc
    assert ends - dt.datetime.now(dt.UTC) <= dt.timedelta(days=30)
    allowed = yaml.safe_load(files["agent.yaml"])["allow"]
    assert {"192.0.2.1", "192.0.2.2", "192.0.2.9"} <= set(allowed)


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"listen": "8883"}, "'8883' is not ADDRESS:PORT"),
        ({"pki": "nowhere"}, "nowhere holds no ca.pem"),
        ({"out": "topology.yaml/b"}, "topology.yaml/b: Not a directory"),
        ({"kind": "emqx"}, "'emqx' is not one of"),
    ],
)
def test_what_is_wrong_about_a_broker_is_said(arguments: dict[str, str], words: str) -> None:
    run("init --dir pki -f topology.yaml")
    result = broker(**arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.usefixtures("estate")
def test_a_second_bundle_of_a_name_ends_the_first_and_says_so() -> None:
    run("init --dir pki -f topology.yaml")
    first = bundle()
    assert "was enrolled before" not in first.output
    assert "Its key is in it. Where the host can run segwatch, rather: segwatch pki join-token" in first.output
    lost = bundle(out="nowhere/b.tar")
    assert lost.exit_code == 2
    assert revocations(Path("pki")) == {}, "nothing was made, nothing is ended"
    second = bundle()
    assert "dev-1 was enrolled before: what it had is refused from now on" in second.output
    generation = revocations(Path("pki"))["dev-1"]
    certificate = x509.load_pem_x509_certificate(read_bundle(Path("b.tar"))["agent.pem"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"segwatch://agent/dev/dev-1/{generation}"]


@pytest.mark.usefixtures("estate")
def test_a_token_is_all_that_is_printed_on_standard_output() -> None:
    run("init --dir pki -f topology.yaml")
    made = run("join-token dev-1 --for 10m --dir pki -f topology.yaml")
    assert made.exit_code == 0, made.output
    token = read_token(made.stdout)
    assert (token.agent, token.environment) == ("dev-1", "dev")
    assert "segwatch agent join --token-file -" in made.stderr


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("dev-2", "did you mean 'dev-1'?"),
        ("dev-1 --for 1s", "a minute at least"),
        ("dev-1 --for 8d", "seven days at most"),
        ("dev-1 --for long", "--for"),
    ],
)
def test_what_no_token_is_made_for(arguments: str, words: str) -> None:
    run("init --dir pki -f topology.yaml")
    result = run(f"join-token {arguments} --dir pki -f topology.yaml")
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("broker", "place"),
    [
        ("mqtts://192.0.2.10:18883,segwatch.example.net:8883", "192.0.2.10:18883"),
        ("mqtts://[2001:db8::1]:18883", "[2001:db8::1]:18883"),
        ("", "HOST:8883"),
    ],
)
def test_what_to_run_next_leads_to_where_the_coordinator_is_found(broker: str, place: str) -> None:
    run("init --dir pki -f topology.yaml")
    Whereabouts(broker).leave(Path("pki"))
    made = run("join-token dev-1 --dir pki -f topology.yaml")
    assert f"segwatch agent join --token-file - --coordinator {place} --state-dir DIR" in made.stderr
    assert f"--broker mqtts://{place} --out dev-1.tar" in run("revoke dev-1 --dir pki -f topology.yaml").stderr
