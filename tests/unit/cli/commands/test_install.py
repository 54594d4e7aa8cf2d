"""`segwatch install` and `uninstall` into a staging directory: nothing of the machine is touched."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from agent.config import load
from agent.lock import held
from cli.main import cli
from tests.support.paths import ROOT
from wire.keyfiles import write_private

PROGRAM = "/opt/segwatch/bin/segwatch"
TOPOLOGY = ROOT / "topology.yaml"
SYSTEM = "etc/systemd/system"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PKI, and the bundle of dev-1."""
    directory = tmp_path_factory.mktemp("made")
    assert run("pki", "init", "--dir", directory / "pki", "-f", TOPOLOGY).exit_code == 0
    assert bundle(directory / "pki", directory / "dev-1.tar").exit_code == 0
    return directory


def bundle(pki: Path, out: Path, broker: str = "mqtts://10.0.0.1:8883") -> Result:
    return run("pki", "agent", "dev-1", "--dir", pki, "-f", TOPOLOGY, "--broker", broker, "--out", out)


def install(root: Path, role: str, *arguments: object) -> Result:
    return run("install", role, "--root", root, "--program", PROGRAM, *arguments)


def coordinator(root: Path, made: Path, *arguments: object) -> Result:
    given = ("-f", TOPOLOGY, "--pki", made / "pki", "--listen", "10.0.0.1:8883", *arguments)
    return install(root, "coordinator", *given)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_an_agent_is_put_in_place_and_taken_away(tmp_path: Path, made: Path) -> None:
    done = install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    assert done.exit_code == 0, done.output
    there = tree(tmp_path)
    state = tmp_path / "var/lib/segwatch/agent"
    config = load(state)
    assert (config.name, config.state_dir) == ("dev-1", "/var/lib/segwatch/agent")
    assert there["var/lib/segwatch/agent"][0] == 0o700
    assert {there[f"var/lib/segwatch/agent/{name}"][0] for name in ("agent.key", "agent.json")} == {0o600}
    unit = (tmp_path / SYSTEM / "segwatch-agent.service").read_text()
    assert f"ExecStart={PROGRAM} agent --state-dir /var/lib/segwatch/agent" in unit
    assert (tmp_path / "etc/sysusers.d/segwatch.conf").read_text() == 'u segwatch - "segwatch agent" - -\n'
    assert "systemctl enable --root" in done.output

    gone = run("uninstall", "agent", "--root", tmp_path)
    assert gone.exit_code == 0, gone.output
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert not (tmp_path / "var/lib/segwatch").exists()
    again = run("uninstall", "agent", "--root", tmp_path)
    assert (again.exit_code, again.output) == (0, "")


def test_a_second_time_changes_nothing_and_keeps_what_was_renewed(tmp_path: Path, made: Path) -> None:
    install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    write_private(tmp_path / "var/lib/segwatch/agent/renewed.pem", b"renewed since")
    before = tree(tmp_path)
    done = install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    assert done.exit_code == 0
    assert "write" not in done.output
    assert "replace" not in done.output
    assert tree(tmp_path) == before


def test_another_bundle_takes_the_place_of_the_first(tmp_path: Path, made: Path) -> None:
    install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    bundle(made / "pki", tmp_path / "other.tar", "mqtts://10.0.0.2:8883")
    done = install(tmp_path, "agent", "--bundle", tmp_path / "other.tar")
    assert done.exit_code == 0
    assert "agent dev-1 of dev, from" in done.output
    assert load(tmp_path / "var/lib/segwatch/agent").broker == "mqtts://10.0.0.2:8883"


def test_a_coordinator_with_its_keys_and_settings(tmp_path: Path, made: Path) -> None:
    done = coordinator(tmp_path, made, "--web", "127.0.0.1:8600")
    assert done.exit_code == 0, done.output
    settings = yaml.safe_load((tmp_path / "etc/segwatch/coordinator.yaml").read_text())
    assert settings == {
        "topology": "topology.yaml",
        "pki": "pki",
        "listen": "10.0.0.1:8883",
        "web": "127.0.0.1:8600",
        "state_dir": "/var/lib/segwatch/coordinator",
    }
    there = tree(tmp_path)
    assert there["etc/segwatch/pki"][0] == 0o700
    assert {there[name][0] for name in there if name.endswith(".key")} == {0o600}
    assert there["etc/segwatch/pki/ca.key"][1] == (made / "pki/ca.key").read_bytes()
    unit = (tmp_path / SYSTEM / "segwatch-coordinator.service").read_text()
    assert "\nCapabilityBoundingSet=\n" in unit
    assert "\nReadWritePaths=/etc/segwatch/pki\n" in unit  # its broker's certificate comes to lie there

    before = tree(tmp_path)
    coordinator(tmp_path, made, "--web", "127.0.0.1:8600")
    assert tree(tmp_path) == before

    run("uninstall", "coordinator", "--root", tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {name for name in before if name.startswith("etc/segwatch/pki/")} | {"etc/segwatch/topology.yaml"}
    assert not (tmp_path / "var/lib/segwatch").exists()


def test_what_was_revoked_since_outlives_a_second_install(tmp_path: Path, made: Path) -> None:
    coordinator(tmp_path, made)
    (tmp_path / "etc/segwatch/pki/revoked.json").write_text("{}")
    assert coordinator(tmp_path, made).exit_code == 0
    assert (tmp_path / "etc/segwatch/pki/revoked.json").read_text() == "{}"


def test_keys_of_another_ca_are_not_written_over(tmp_path: Path, made: Path) -> None:
    coordinator(tmp_path, made)
    before = tree(tmp_path)
    run("pki", "init", "--dir", tmp_path.parent / "second", "-f", TOPOLOGY)
    done = install(
        tmp_path, "coordinator", "-f", TOPOLOGY, "--pki", tmp_path.parent / "second", "--listen", "10.0.0.9:8883"
    )
    assert done.exit_code == 2
    assert "/etc/segwatch/pki holds another CA" in done.output
    assert tree(tmp_path) == before


def test_a_low_port_brings_its_capability(tmp_path: Path, made: Path) -> None:
    coordinator(tmp_path, made, "--web", "127.0.0.1:443")
    unit = (tmp_path / SYSTEM / "segwatch-coordinator.service").read_text()
    assert "\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit
    assert "PrivateUsers" not in unit


def test_the_timer_and_the_user_that_it_shares(tmp_path: Path, made: Path) -> None:
    coordinator(tmp_path, made)
    assert install(tmp_path, "verify-timer", "--on-calendar", "Mon..Fri 06:00").exit_code == 0
    assert "\nOnCalendar=Mon..Fri 06:00\n" in (tmp_path / SYSTEM / "segwatch-verify.timer").read_text()
    (tmp_path / SYSTEM / "timers.target.wants").mkdir()
    (tmp_path / SYSTEM / "timers.target.wants/segwatch-verify.timer").symlink_to("/nowhere")
    user = tmp_path / "etc/sysusers.d/segwatch-coordinator.conf"
    done = run("uninstall", "verify-timer", "--root", tmp_path)
    assert "the user segwatch-coordinator: another unit runs as it" in done.output
    assert user.exists()
    assert not list((tmp_path / SYSTEM).rglob("segwatch-verify*"))
    run("uninstall", "coordinator", "--root", tmp_path)
    assert not user.exists()


def test_state_can_be_kept(tmp_path: Path, made: Path) -> None:
    install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    run("uninstall", "agent", "--keep-state", "--root", tmp_path)
    assert load(tmp_path / "var/lib/segwatch/agent").name == "dev-1"
    assert not (tmp_path / SYSTEM / "segwatch-agent.service").exists()


def test_a_dry_run_says_it_and_does_nothing(tmp_path: Path, made: Path) -> None:
    for done in (
        install(tmp_path, "agent", "--dry-run", "--bundle", made / "dev-1.tar"),
        coordinator(tmp_path, made, "--dry-run"),
        install(tmp_path, "verify-timer", "--dry-run"),
    ):
        assert done.exit_code == 0, done.output
        assert "write      /etc/systemd/system/segwatch-" in done.output
        assert "Nothing was done" in done.output
    assert list(tmp_path.iterdir()) == []
    install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    before = tree(tmp_path)
    assert "remove     /var/lib/segwatch/agent/" in run("uninstall", "agent", "--dry-run", "--root", tmp_path).output
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("agent", "--bundle", "absent.tar"), "absent.tar cannot be read: No such file or directory. Make one"),
        (("agent", "--bundle", str(TOPOLOGY)), "is not a bundle"),
        (("verify-timer", "--on-calendar", "at\nExecStart=x"), "is not a time"),
        (("verify-timer", "--on-calendar", "sometimes"), "--on-calendar 'sometimes': "),
        (("verify-timer", "--program", "segwatch"), "not an absolute path"),
        (("verify-timer", "--program", "/opt/x\nUser=root"), "not an absolute path"),
        (("verify-timer", "--program", "/opt/%n"), "not an absolute path"),
        (("verify-timer", "--program", "/home/me/segwatch"), "hidden from the unit"),
        (
            ("coordinator", "-f", str(TOPOLOGY), "--pki", "absent", "--listen", "10.0.0.1:8883"),
            "absent holds no ca.pem",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_done(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    program = () if "--program" in arguments else ("--program", PROGRAM)
    done = run("install", arguments[0], "--root", tmp_path / "root", *program, *arguments[1:])
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "root").exists()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    done = install(tmp_path, "verify-timer")
    assert done.exit_code == 2
    assert "etc/sysusers.d" in done.output
    assert "Not a directory" in done.output


def test_only_root_installs_on_the_host_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for arguments in (("install", "verify-timer", "--program", PROGRAM), ("uninstall", "agent")):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "only root can do this on the host itself" in done.output
        assert "--root DIR" in done.output


def test_an_agent_that_runs_keeps_its_bundle(tmp_path: Path, made: Path) -> None:
    install(tmp_path, "agent", "--bundle", made / "dev-1.tar")
    bundle(made / "pki", tmp_path / "other.tar", "mqtts://10.0.0.2:8883")
    state = tmp_path / "var/lib/segwatch/agent"
    with held(state):
        assert install(tmp_path, "agent", "--bundle", made / "dev-1.tar").exit_code == 0
        done = install(tmp_path, "agent", "--bundle", tmp_path / "other.tar")
    assert done.exit_code == 2
    assert "is held by another agent" in done.output
    assert load(state).broker == "mqtts://10.0.0.1:8883"


def test_a_reader_that_goes_away_is_not_blamed_on_the_host(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    given = f"-m cli.main install verify-timer --root {tmp_path} --program {PROGRAM}".split()
    command = [sys.executable, *given]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")  # half of it may be undone


def test_the_agent_unit_gives_raw_packets_and_nothing_else(tmp_path: Path, made: Path) -> None:
    everything(tmp_path, made)
    lines = (tmp_path / SYSTEM / "segwatch-agent.service").read_text().splitlines()
    given = {line for line in lines if line.startswith(("User=", "AmbientCapabilities=", "CapabilityBoundingSet="))}
    assert given == {"User=segwatch", "AmbientCapabilities=CAP_NET_RAW", "CapabilityBoundingSet=CAP_NET_RAW"}
    assert "NoNewPrivileges=yes" in lines


@pytest.mark.parametrize("unit", ["segwatch-agent.service", "segwatch-coordinator.service", "segwatch-verify.service"])
def test_exposure_is_at_most_two(tmp_path: Path, made: Path, unit: str) -> None:
    everything(tmp_path, made)
    command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        str(tmp_path / SYSTEM / unit),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert f"Overall exposure level for {unit}" in done.stdout


def test_systemd_takes_the_units_without_a_word(tmp_path: Path, made: Path) -> None:
    everything(tmp_path, made)
    units = sorted((tmp_path / SYSTEM).glob("segwatch-*"))
    assert len(units) == 4
    for unit in units:  # the program has to be there, and it is not at its place in the staging directory
        unit.write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def everything(root: Path, made: Path) -> None:
    install(root, "agent", "--bundle", made / "dev-1.tar")
    coordinator(root, made)
    install(root, "verify-timer")
