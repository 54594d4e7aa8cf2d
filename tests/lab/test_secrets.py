"""Nothing secret leaves the files that hold it: a whole estate runs, and all that it prints, logs, stores and lists is searched."""

from __future__ import annotations

import base64
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.estate import Estate
from lab.system import PORT, System
from tests.lab.services import serve
from tests.lab.small import AGENTS, DEV, REG, SERVICES, plan, topology
from tests.lab.story import told

pytestmark = pytest.mark.lab

WEB = "127.0.0.1:8600"
HOLE = f"ip saddr {DEV} ip daddr {REG} tcp dport 5000 accept"
HOLD_KEYS = ("*.key", "*.tar", "renewed.pem", "token", "metrics-token")  # by name, wherever they lie


@contextmanager
def watching() -> Iterator[set[str]]:
    """Every command line that any process has meanwhile: what `ps axww` would list, and its environment would not."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for process in psutil.process_iter(["cmdline"]):
                seen.update(process.info["cmdline"] or ())
            done.wait(0.05)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def forms(raw: bytes) -> set[bytes]:
    """A secret as it may turn up: raw, hex, base64."""
    return {raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)}


def secrets_of(path: Path) -> set[bytes]:
    """What must not be seen of a file that holds a key or a token."""
    data = path.read_bytes()
    if b"PRIVATE KEY" not in data:
        text = data.strip()
        is_hex = len(text) == 64
        return {text} | (forms(bytes.fromhex(text.decode())) if is_hex else set())
    pem = data[data.index(b"-----BEGIN PRIVATE KEY-----") :]
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    return forms(scalar) | {line for line in pem.splitlines() if len(line) > 20 and not line.startswith(b"-----")}


class Deployed:
    """The system, and what its commands printed."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.directory = system.directory
        self.printed: list[bytes] = []

    def cli(self, *arguments: str, host: str = "coordinator", code: int | None = 0) -> str:
        done = self.system.cli(*arguments, host=host)
        said = f"{done.stdout}\n{done.stderr}"
        self.printed.append(said.encode())
        assert code is None or done.returncode == code, said
        return done.stdout

    def keys(self) -> set[Path]:
        return {path for pattern in HOLD_KEYS for path in self.directory.rglob(pattern) if path.is_file()}


def deploy(found: Deployed) -> None:
    """As `System.deploy`, but dev-1's certificate lasts 30 s: it renews while the test runs."""
    system, broker = found.system, f"mqtts://{found.system._address}:{PORT}"
    found.cli("pki", "init", "--dir", "pki", "-f", "topology.yaml")
    system.start_coordinator()
    for agent in AGENTS:
        more = ("--life", "30s") if agent == "dev-1" else ()
        found.cli(
            "pki",
            "agent",
            agent,
            "--dir",
            "pki",
            "-f",
            "topology.yaml",
            "--broker",
            broker,
            "--out",
            f"{agent}.tar",
            *more,
        )
        system.start_agent(agent)
    system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")


def use(found: Deployed) -> None:
    """Everything that people do with it, what goes wrong included."""
    system = found.system
    found.cli("verify", "--state-dir", "state", "--from", "dev", "--to", "prod", "-o", "junit", "-v", code=1)
    # It goes over to its new certificate once the round is through, and hears no order until it is connected again.
    system.wait_for(lambda: "certificate renewed" in system.log("dev-1"), "the renewal")
    system.wait_for(lambda: re.search(r"\btimes\W+2\b", system.log("dev-1")), "its connection by the new certificate")
    (finding,) = [f["id"] for f in system.ask("findings") if f["destination"]["service"] == "registry"]
    found.cli("explain", finding, "--state-dir", "state", "-v")
    found.cli("explain", finding, "--state-dir", "state", "--trace")
    found.cli("findings", "export", finding, "--pcap", "leak.pcapng", "--state-dir", "state")
    remote = ("--coordinator", f"http://{WEB}")
    found.cli("findings", "ack", finding, "--by", "me", "--reason", "test", *remote, "--token-file", "state/token")
    (found.directory / "other").write_text("a token of something else")
    (found.directory / "other").chmod(0o600)
    found.cli("findings", "ack", finding, "--by", "me", "--reason", "x", *remote, "--token-file", "other", code=2)
    for verb in ("matrix", "coverage", "findings", "history"):
        found.cli(verb, "--state-dir", "state", "-o", "json")
    found.cli("agent", "--state-dir", "state-dev-1", "--check", host="dev-1", code=None)
    logs = ("--log", "coordinator.log", "--log", "dev-1.log")
    found.cli("support-bundle", "--state-dir", "state", *logs, "--out", "support.tar.gz")
    shutil.unpack_archive(found.directory / "support.tar.gz", found.directory / "support", filter="data")


def break_things(found: Deployed) -> None:
    """Errors are where secrets slip out."""
    system, directory = found.system, found.directory
    found.cli("pki", "revoke", "prod-2", "--dir", "pki", "-f", "topology.yaml")
    system.wait_for(lambda: "is revoked" in system.log("prod-2"), "the revocation")
    found.cli("agent", "--state-dir", "state-prod-2", "--check", host="prod-2", code=1)
    shutil.copytree(directory / "state-dev-1", directory / "broken", ignore=shutil.ignore_patterns("lock"))
    for name in ("agent.key", "renewed.pem"):
        (directory / "broken" / name).chmod(0o644)
        found.cli("agent", "--state-dir", "broken", "--check", host="dev-1", code=2)
        (directory / "broken" / name).chmod(0o600)
    (directory / "broken" / "renewed.pem").unlink()
    key = (directory / "broken" / "agent.key").read_bytes().splitlines()
    (directory / "broken" / "agent.key").write_bytes(b"\n".join((key[0], key[1][:-4], *key[2:])))
    found.cli("agent", "--state-dir", "broken", "--check", host="dev-1", code=1)
    shutil.copytree(directory / "pki", directory / "pki2")
    signing = directory / "pki2" / "coordinator.signing.key"
    signing.write_bytes(signing.read_bytes()[:-3] + b"\n")
    arguments = ("-f", "topology.yaml", "--pki", "pki2", "--listen", "127.0.0.1:9999", "--state-dir", "state2")
    found.cli("coordinator", *arguments, code=2)


@pytest.mark.long
def test_nothing_secret_is_printed_logged_listed_or_stored() -> None:
    with Estate(plan([HOLE])) as estate, watching() as command_lines:
        for host, ports in SERVICES.items():
            serve(estate, host, ports)
        found = Deployed(System(estate, topology(), {agent: agent for agent in AGENTS}, web=WEB))
        deploy(found)
        with told(found.system):
            use(found)
        held = found.keys()
        intact = {path: secrets_of(path) for path in held if path.suffix != ".tar"}
        break_things(found)
        for name in ("dev-1", "coordinator"):
            found.system.stop(name)
        secrets = {secret for secrets in intact.values() for secret in secrets}
        keys = found.keys()
        places = {str(path): path.read_bytes() for path in found.directory.rglob("*") if path.is_file()}
        leaks = [
            f"{name} shows a part of a secret"
            for name, data in [
                *((name, data) for name, data in places.items() if Path(name) not in keys),
                *((f"output {number}", data) for number, data in enumerate(found.printed)),
                *((f"command line {line[:60]!r}", line.encode()) for line in command_lines),
            ]
            if any(secret in data for secret in secrets)
        ]
        assert not leaks

        # What was searched is all there, and the search finds what it looks for.
        names = {path.name for path in intact}
        assert names == {
            "ca.key", "coordinator.key", "coordinator.signing.key", "broker.key", "agent.key", "renewed.pem", "token",
            "metrics-token",
        }  # fmt: skip
        assert all(any(secret in places[str(path)] for secret in secrets) for path, secrets in intact.items())
        assert {
            "store.sqlite",
            "spool.sqlite",
            "broker.conf",
            "broker.log",
            "leak.pcapng",
            "store-check.json",
            "coordinator.log",
            "dev-1.log",
        } <= {Path(name).name for name in places}
        assert any("agent.credential" in line for line in command_lines), "the child that handles keys was seen"
        assert any("probes.child" in line for line in command_lines)
        modes = {path.stat().st_mode & 0o777 for path in held}
        assert modes == {0o600}
