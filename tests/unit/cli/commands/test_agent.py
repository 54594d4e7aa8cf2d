import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from agent.bundle import MEMBERS
from agent.config import ConfigError, Window, check, load
from agent.lock import held
from cli.agent.file import parse_agent_yaml
from cli.commands.agent import command
from cli.errors import Problem
from tests.support.bundles import bundle, credentials
from wire.keyfiles import write_private

GOOD = """\
name: dev-1
environment: dev
broker: mqtts://127.0.0.1:1
allow: [10.30.0.0/24, "fd00:30::/64", 192.0.2.1]
deny: [10.30.0.99]
rate_pps: 200
blackout: [{cron: "0 2 * * 0", for: 2h, timezone: Europe/Berlin}]
"""


def parse(text: str) -> object:
    return parse_agent_yaml(text.encode(), "agent.yaml")


def test_a_configuration() -> None:
    config = parse_agent_yaml(GOOD.encode(), "agent.yaml")
    assert config.blackout == (Window(cron="0 2 * * 0", for_s=7200.0, timezone="Europe/Berlin"),)
    assert (config.deny, config.rate_pps, config.credentials.key) == (("10.30.0.99",), 200, "agent.key")
    assert check(config) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rate_pps: 200", "rate_pp: 200"), "unknown field `rate_pp`; did you mean 'rate_pps'?"),
        (("rate_pps: 200", "rate_pps: -1"), "rate_pps: -1 is not a rate"),
        (("rate_pps: 200", "rate_pps: fast"), "Expected `int`, got `str` - at `$.rate_pps`"),
        (("name: dev-1", "name: Dev 1"), "name: 'Dev 1' is not a name"),
        (("name: dev-1\n", ""), "missing required field `name`"),
        (("mqtts://127.0.0.1:1", "tcp://x"), "broker: 'tcp://x' is not mqtts://HOST:PORT"),
        (("mqtts://127.0.0.1:1", "mqtts://h:99999"), "broker: "),
        (("10.30.0.0/24", "10.30.0.1/24"), "allow[0]: 10.30.0.1/24 has host bits set"),
        (("[10.30.0.99]", "[nonsense]"), "deny[0]: 'nonsense' does not appear to be"),
        (('allow: [10.30.0.0/24, "fd00:30::/64", 192.0.2.1]', "allow: []"), "allow: is empty"),
        (("0 2 * * 0", "0 25 * * 0"), "blackout[0].cron: '25' is not a number from 0 to 23"),
        (("Europe/Berlin", "Mars/Base"), "blackout[0].timezone: 'Mars/Base' is not a time zone"),
        (("for: 2h", "for: long"), "'long' is not a duration"),
        (("for: 2h", "for: 400d"), "not between 1 s and 31 days"),
        (("for: 2h", "fro: 2h"), "unknown field `fro` - at `$.blackout[0]`; did you mean 'for'?"),
        (("name: dev-1", "name: !!python/object/apply:os.system [id]"), "is not valid YAML"),
        (("name: dev-1", "name: &a dev-1\nx: *a"), "aliases (*name) are not allowed"),
        ((GOOD, "[" * 5000), "is not valid YAML"),
        ((GOOD, ""), "holds no keys"),
        ((GOOD, "just words"), "holds no keys"),
        ((GOOD, "a: \0"), "is not valid YAML"),
        (("broker", "\tbroker"), "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said(change: tuple[str, str], words: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(GOOD.replace(*change))
    assert words in caught.value.message


def test_latin_1_and_size() -> None:
    with pytest.raises(Problem, match="is not valid YAML"):
        parse_agent_yaml("name: Jürgen".encode("latin-1"), "agent.yaml")
    with pytest.raises(Problem, match="larger than a configuration can be"):
        parse_agent_yaml(b"#" * 2_000_000, "agent.yaml")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A YAML file with its credentials beside it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "agent.yaml").write_text(GOOD)
    for name, data in (*credentials("dev-1", "dev").items(), ("ca.pem", b"pem")):
        write_private(tmp_path / "etc" / name, data)
    (tmp_path / "etc" / "coordinator.pub").write_text(SigningKey.generate().verify_key.encode().hex())
    return tmp_path / "etc" / "agent.yaml"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: calls.append(arguments))
    return calls


def test_it_becomes_the_daemon(written: Path, tmp_path: Path, executed: list[list[str]]) -> None:
    state = tmp_path / "deep" / "state"
    result = CliRunner().invoke(command, ["--config", str(written), "--state-dir", str(state), "--log", "json"])
    assert result.exit_code == 0, result.output
    assert executed == [[sys.executable, "-P", "-m", "agent", "--state-dir", str(state), "--log", "json"]]
    assert load(state).name == "dev-1"
    assert {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()} == dict.fromkeys(
        ("agent.json", "agent.key", "agent.pem", "ca.pem", "coordinator.pub", "lock"), 0o600
    )
    again = CliRunner().invoke(command, ["--state-dir", str(state)])
    assert again.exit_code == 0, again.output
    assert len(executed) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no bundle or configuration: give --bundle FILE or --config FILE"),
        (["--bundle", "a", "--config", "b"], "give one of them"),
        (
            ["--bundle", "nowhere.tar", "--state-dir", "s"],
            "nowhere.tar cannot be read: No such file or directory. Make one on the coordinator's host: segwatch pki agent NAME",
        ),
        (["--config", "nowhere.yaml", "--state-dir", "s"], "nowhere.yaml cannot be read: No such file or directory"),
        (["--state-dir", "s"], "is not there: start it once with segwatch agent --bundle FILE"),
    ],
)
def test_usage(
    arguments: list[str], words: str, executed: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert executed == []


def test_no_state_dir_and_one_that_another_holds(written: Path, tmp_path: Path, executed: list[list[str]]) -> None:
    result = CliRunner().invoke(command, ["--config", str(written)])
    assert "no state directory: give --state-dir" in result.output
    state = tmp_path / "state"
    state.mkdir()
    with held(state):
        result = CliRunner().invoke(command, ["--config", str(written), "--state-dir", str(state)])
    assert result.exit_code == 2
    assert f"is held by another agent (process {os.getpid()})" in result.output
    assert executed == []


def test_a_state_that_lost_a_file_or_shows_its_key(written: Path, tmp_path: Path, executed: list[list[str]]) -> None:
    state = tmp_path / "state"
    CliRunner().invoke(command, ["--config", str(written), "--state-dir", str(state)])
    (state / "agent.key").chmod(0o644)
    with pytest.raises(ConfigError, match="agent.key can be read by others. Fix it: chmod 600"):
        load(state)
    (state / "agent.key").chmod(0o600)
    (state / "coordinator.pub").write_text("x")
    with pytest.raises(ConfigError, match="coordinator.pub: not an Ed25519 public key"):
        load(state)
    (state / "ca.pem").unlink()
    with pytest.raises(ConfigError, match="ca.pem is not there"):
        load(state)
    (state / "agent.json").write_text("{")
    with pytest.raises(ConfigError, match="agent.json: "):
        load(state)


def test_the_same_bundle_at_each_start_keeps_what_was_renewed_and_a_new_one_drops_it(
    written: Path, tmp_path: Path, executed: list[list[str]]
) -> None:
    state = tmp_path / "state"

    def start() -> None:
        result = CliRunner().invoke(command, ["--config", str(written), "--state-dir", str(state)])
        assert result.exit_code == 0, result.output

    start()
    write_private(state / "renewed.pem", b"newer")
    write_private(state / "next.key", b"begun")
    start()
    assert (state / "renewed.pem").read_bytes() == b"newer"
    for name, data in credentials("dev-1", "dev").items():
        write_private(written.parent / name, data)
    start()
    assert {path.name for path in state.iterdir()} == {
        "agent.json", "agent.key", "agent.pem", "ca.pem", "coordinator.pub", "lock",
    }  # fmt: skip
    assert len(executed) == 3


@pytest.mark.parametrize("what", ["key", "directory"])
def test_a_key_that_others_can_read_or_replace_is_not_taken(
    written: Path, tmp_path: Path, executed: list[list[str]], what: str
) -> None:
    if what == "key":
        (written.parent / "agent.key").chmod(0o640)
        words = "agent.key can be read by others. Fix it: chmod 600"
    else:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep").chmod(0o777)
        words = f"Fix it: chmod go-w {tmp_path / 'deep'}"
    result = CliRunner().invoke(command, ["--config", str(written), "--state-dir", str(tmp_path / "deep" / "state")])
    assert result.exit_code == 2
    assert words in result.output
    assert executed == []


def test_a_bundle_that_others_can_read_is_not_taken(tmp_path: Path, executed: list[list[str]]) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(GOOD)
            tar.addfile(info, io.BytesIO(GOOD.encode()))
    (tmp_path / "b.tar").chmod(0o644)
    result = CliRunner().invoke(command, ["--bundle", str(tmp_path / "b.tar"), "--state-dir", str(tmp_path / "s")])
    assert result.exit_code == 2
    assert f"{tmp_path}/b.tar can be read by others. Fix it: chmod 600 {tmp_path}/b.tar" in result.output
    assert not (tmp_path / "s").exists()
    assert executed == []


BAD_BUNDLES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "another agent's certificate": (
        {**dict(zip(("agent_pem", "agent_key"), credentials("prod-1", "prod").values(), strict=True))},
        "its certificate is of prod-1 of prod, its configuration of dev-1 of dev",
    ),
    "another's key": (
        {"agent_key": credentials("dev-1", "dev")["agent.key"]}, "its key is not the one of its certificate",
    ),
    "no certificate": ({"agent_pem": b"pem"}, "its certificate is not one in PEM"),
    "no key": ({"agent_key": b"-----BEGIN PRIVATE KEY-----"}, "its key is not a private key in PEM"),
    "no agent's certificate": (
        {"agent_pem": credentials("dev-1", "dev")["agent.pem"].replace(b"MII", b"MIJ", 1)}, "its certificate is not one in PEM",
    ),
    "a member too few": ({"agent_pub": None, "ca_pem": None}, "is not a whole bundle: it lacks ca.pem. Copy it again."),
    "a key that a newer segwatch has": (
        {"agent_yaml": b"name: dev-1\nenvironment: dev\nbroker: mqtts://h:1\nallow: [10.0.0.0/8]\nhops: 3\n"},
        "agent.yaml: Object contains unknown field `hops`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_BUNDLES)
@pytest.mark.parametrize("more", [[], ["--check"]])
def test_a_bundle_that_is_not_this_agents_or_not_whole(
    what: str, more: list[str], tmp_path: Path, executed: list[list[str]]
) -> None:
    changed, words = BAD_BUNDLES[what]
    path = bundle(tmp_path / "b.tar", "dev-1", "dev", **changed)
    done = CliRunner().invoke(command, ["--bundle", str(path), "--state-dir", str(tmp_path / "s"), *more])
    assert isinstance(done.exception, SystemExit), "no traceback"
    assert done.exit_code == 2
    assert f"{path}" in done.output
    assert words in done.output
    assert not (tmp_path / "s").exists()
    assert executed == []


@pytest.mark.parametrize("size", [100, 3000, 5000])
def test_a_bundle_that_was_cut(tmp_path: Path, size: int, executed: list[list[str]]) -> None:
    path = bundle(tmp_path / "b.tar")
    path.write_bytes(path.read_bytes()[:size])
    done = CliRunner().invoke(command, ["--bundle", str(path), "--state-dir", str(tmp_path / "s")])
    assert done.exit_code == 2
    assert "Make one on the coordinator's host: segwatch pki agent NAME … --out FILE" in done.output
    assert executed == []


def test_a_bundle_does_not_take_over_another_agents_state(tmp_path: Path, executed: list[list[str]]) -> None:
    first, state = bundle(tmp_path / "a.tar"), tmp_path / "s"
    assert CliRunner().invoke(command, ["--bundle", str(first), "--state-dir", str(state)]).exit_code == 0
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    second = bundle(tmp_path / "b.tar", "prod-1", "prod")
    done = CliRunner().invoke(command, ["--bundle", str(second), "--state-dir", str(state)])
    assert done.exit_code == 2
    assert f"{state} is the state directory of agent dev-1, and what is given is for prod-1" in done.output
    assert f"Where it is to take dev-1's place: move {state} away first." in done.output
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    assert len(executed) == 1


def test_a_state_that_a_newer_segwatch_left(tmp_path: Path, executed: list[list[str]]) -> None:
    state = tmp_path / "s"
    CliRunner().invoke(command, ["--bundle", str(bundle(tmp_path / "a.tar")), "--state-dir", str(state)])
    held = json.loads((state / "agent.json").read_text())
    (state / "agent.json").write_text(json.dumps({**held, "hops": 3}))
    done = CliRunner().invoke(command, ["--state-dir", str(state)])
    assert done.exit_code == 2
    assert (
        "agent.json: Object contains unknown field `hops`. A newer segwatch may have left it: use that one."
        in done.output
    )
    assert len(executed) == 1
