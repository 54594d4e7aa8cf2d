"""`segwatch support-bundle` of a real estate: what goes into it is there, and no secret of the estate is, in any form."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.loopback.coordinators import SEGWATCH, Running, coordinator
from tests.support.waiting import HANG_S

# All of it is on loopback: no packet leaves this machine.
TOPOLOGY = """version: 1
environments:
  dev:
    networks: [127.10.0.0/24]
    agents: {dev-1: {addresses: [127.10.0.1]}}
  prod:
    networks: [127.30.0.0/24]
    agents: {prod-1: {addresses: [127.30.0.1]}}
    services: {registry: {hosts: [127.30.0.1], ports: [tcp/5000], kind: mlflow, holds: [models]}}
probing: {every: 365d, confirm: 1}
"""
AGENTS = ("dev-1", "prod-1")
# The keys of rounds are in no file: the coordinator's process is made to write them down.
TELL_KEYS = (
    "import coordinator.rounds.control_echo as e; e.Echo.know = lambda self, name, key, was=e.Echo.know: "
    "(open('round.keys', 'a').write(key.hex() + '\\n'), was(self, name, key))[1]"
)


class Estate:
    """A coordinator and two agents, after a verify run."""

    def __init__(self, running: Running) -> None:
        self.running, self.directory = running, running.directory

    def secrets(self) -> dict[str, set[bytes]]:
        """Where it is from -> what must not be seen of it."""
        found = {}
        for path in sorted(self.directory.rglob("*")):
            if path.suffix == ".key" or path.name in {"token", "metrics-token", "agent.sign", "renewed.pem"}:
                found[str(path.relative_to(self.directory))] = secrets_of(path)
        return found

    def rounds(self) -> dict[str, set[bytes]]:
        """The same of the keys of rounds, which no file holds."""
        keys = (self.directory / "round.keys").read_text().split()
        return {f"the key of round {number}": forms(bytes.fromhex(key)) for number, key in enumerate(keys, 1)}

    def bundle(self, *options: str) -> tuple[str, dict[str, bytes]]:
        """What it said, and the files of the archive."""
        name = f"bundle-{time.monotonic_ns()}.tar.gz"
        done = self.running.cli("support-bundle", "--out", name, *options)
        assert done.returncode == 0, done.stderr
        assert (self.directory / name).stat().st_mode & 0o777 == 0o600
        with tarfile.open(self.directory / name) as tar:
            files = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar}
            return done.stdout + done.stderr, {path: file.read() for path, file in files.items() if file is not None}


def forms(raw: bytes) -> set[bytes]:
    return {raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)}


def secrets_of(path: Path) -> set[bytes]:
    data = path.read_bytes()
    if path.name == "agent.sign":
        return forms(msgspec.msgpack.decode(data)["seed"])
    if b"PRIVATE KEY" not in data:
        text = data.strip()
        return forms(text) | (forms(bytes.fromhex(text.decode())) if len(text) == 64 else set())
    pem = data[data.index(b"-----BEGIN PRIVATE KEY-----") :]
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    lines = {line for line in pem.splitlines() if len(line) > 20 and not line.startswith(b"-----")}
    return forms(key.private_numbers().private_value.to_bytes(32, "big")) | lines


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(coordinator(tmp_path, TELL_KEYS, TOPOLOGY))
        for name in AGENTS:
            made = running.cli("pki", "agent", name, "--dir", "pki", "-f", "topology.yaml", "--out", f"{name}.tar")
            assert made.returncode == 0, made.stderr
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = [SEGWATCH, "agent", "--bundle", f"{name}.tar", "--state-dir", f"state-{name}"]
            agent = stack.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
            stack.callback(agent.wait, HANG_S)
            stack.callback(agent.terminate)
        # No interface has these addresses, so that nothing can be sent from them, and nothing is proven.
        done = running.cli("verify", "--state-dir", "state", "-o", "json")
        assert json.loads(done.stdout)["result"] == "inconclusive", done.stderr
        yield Estate(running)


@pytest.mark.long
def test_no_secret_of_the_estate_is_in_it(estate: Estate) -> None:
    directory, secrets, rounds = estate.directory, estate.secrets(), estate.rounds()
    # A log in which everything went wrong: what is in files that hold keys, in all forms.
    pems = b"".join(path.read_bytes() for path in sorted(directory.rglob("*.key")))
    shown = [form for known in secrets.values() for form in sorted(known)]
    (directory / "agent.log").write_bytes(b"begins\n" + b"\n".join([*shown, pems, b"ends"]) + b"\n")
    token = (directory / "state" / "token").read_text().strip()
    said, files = estate.bundle(
        "--state-dir", "state", "--log", "agent.log", "--log", "dev-1.log", "--log", "pki/ca.key"
    )
    (directory / "held").write_text(token)
    (directory / "held").chmod(0o600)
    url = f"http://127.0.0.1:{estate.running.web}"
    also_said, remote = estate.bundle("--coordinator", url, "--token-file", "held")

    every = {**files, **{f"remote {name}": data for name, data in remote.items()}, "said": (said + also_said).encode()}
    leaks = [
        f"{name} shows {where}"
        for name, data in every.items()
        for where, known in {**secrets, **rounds}.items()
        if any(form in data for form in known)
    ]
    assert not leaks
    assert b"PRIVATE KEY" not in b"".join(every.values())

    # What was searched is all there, and the search finds what it looks for.
    assert {Path(where).name for where in secrets} == {
        "ca.key", "coordinator.key", "coordinator.signing.key", "broker.key", "agent.key", "agent.sign", "token", "metrics-token",
    }  # fmt: skip
    assert len(rounds) >= 2
    log = (directory / "agent.log").read_bytes()
    assert all(any(form in log for form in known) for known in secrets.values())
    assert files["logs/01-agent.log"].startswith(b"begins\n")
    assert files["logs/01-agent.log"].endswith(b"ends\n")
    assert "--log pki/ca.key is not taken: by its name it may hold a key" in said
    assert files.keys() >= {
        "README.txt", "versions.json", "topology.yaml", "status.json", "findings.json", "run.json", "matrix.json",
        "coverage.json", "history.json", "plan.json", "report.json", "store-check.json", "broker.log", "logs/02-dev-1.log",
    }  # fmt: skip
    assert files["topology.yaml"] == (directory / "topology.yaml").read_bytes()
    explained = {name: json.loads(data) for name, data in files.items() if name.startswith("explain/")}
    names = {body["round"]["id"] for body in explained.values()}
    assert names
    assert {f"rounds/{name}.json" for name in names} <= files.keys()
    held = json.loads(files[f"rounds/{names.pop()}.json"])
    assert held[0]["reports"]
    assert json.loads(files["run.json"])["result"]["result"] == "inconclusive"
    assert json.loads(files["store-check.json"])["ok"]
    assert remote.keys() >= {"status.json", "run.json", "findings.json"}
    assert "rounds, store and broker.log: they are on the coordinator's host" in also_said.replace("\n    ", " ")


@pytest.mark.long
def test_without_its_coordinator_it_has_what_is_on_disk(estate: Estate) -> None:
    process = estate.running.process
    process.terminate()
    process.wait(HANG_S)
    said, files = estate.bundle("--state-dir", "state")
    assert "no coordinator runs on state" in said
    assert files.keys() >= {
        "versions.json",
        "broker.log",
        "store/findings.json",
        "store/events.json",
        "store-check.json",
    }
    assert [name for name in files if name.startswith("rounds/")]
    assert not files.keys() & {"status.json", "topology.yaml"}
