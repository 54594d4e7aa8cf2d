"""The file as an agent: rounds between hosts without Python, `--check`, `try`, names as the host resolves them, its unit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from lab.estate import Estate
from lab.system import System
from tests.binary.roots import ENTER, PATH, PROGRAM, Host
from tests.lab import pair, small
from tests.lab.columns import judged
from tests.lab.services import serve
from tests.lab.small import DEV, PROD, PROD2, SERVICES, TO_APP, assert_honest, at, topology
from tests.lab.story import told
from tests.support.paths import ROOT

pytestmark = pytest.mark.binary

BARE = ("dev-1", "prod-1")  # these agents are the file on a host without Python; others run from the venv
LAB = "lab"  # where the estate's directory is in the root
RAW = 1 << 13
USER = 4711
MEET = "meta l4proto { tcp, udp } th dport 8884 accept"


class Bare(System):
    """Some of the agents run in the root."""

    def __init__(self, estate: Estate, text: str, agents: Mapping[str, str], host: Host) -> None:
        super().__init__(estate, text, agents)
        self._host = host

    def start_agent(self, agent: str) -> None:
        """The file, where the agent is one of the bare ones."""
        if agent not in BARE:
            super().start_agent(agent)
            return
        given = [
            PROGRAM,
            "agent",
            "--bundle",
            f"/{LAB}/{agent}.tar",
            "--state-dir",
            f"/{LAB}/state-{agent}",
            "--log",
            "json",
        ]
        with (self.directory / f"{agent}.log").open("ab") as log:
            command = inside(self.estate, self._host, given)
            self.processes[agent] = self.estate.spawn(self.agents[agent], command, stdout=log, stderr=log)


def inside(estate: Estate, host: Host, command: Sequence[str]) -> list[str]:
    """The command as it is entered, with the estate's directory at `LAB`."""
    (host.root / LAB).mkdir(exist_ok=True)
    first = f"mount --bind {estate.directory} {LAB}"
    return ["sh", "-euc", ENTER, str(host.root), first, "", "env", f"PATH={PATH}", *command]


def processes(system: System, agent: str) -> list[tuple[str, int]]:
    """What runs on an agent's host: name, permitted capabilities."""
    found = []
    for pid in system.estate.run("", ["ip", "netns", "pids", agent]).check().stdout.split():
        said = system.estate.run("", ["cat", f"/proc/{pid}/status"]).stdout
        status = dict(line.split(":", 1) for line in said.splitlines())
        if status:  # it has not ended meanwhile
            found.append((status["Name"].strip(), int(status["CapPrm"], 16)))
    return found


def test_a_round_between_hosts_without_python(host: Host) -> None:
    (host.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{PROD2} db.prod.internal\n")
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5432]}")
    with Estate(small.plan([TO_APP], {"db.prod.internal": PROD2})) as estate:
        for name, ports in SERVICES.items():
            serve(estate, name, ports)
        system = Bare(estate, text, {agent: agent for agent in small.AGENTS}, host)
        system.deploy()
        with told(system):
            system.wait_for(lambda: system.connected() >= set(small.AGENTS), "the agents")
            assert ("segwatch", RAW) in processes(system, "dev-1")
            outcome = small.verify(system)
            assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
            assert outcome.says("dev-1", PROD, "tcp", 8000)[:3] == ("fail", "reachable", "replied")
            # Raw packets and a witness: what is dropped is proven by what did not arrive.
            assert outcome.says("dev-1", PROD, "tcp", 8265)[:3] == ("pass", "blocked", "witnessed")
            assert outcome.says("prod-1", DEV, "tcp", 8888)[:3] == ("pass", "blocked", "witnessed")
            # The name is in the root's own file.
            assert outcome.cell("dev-1", PROD2, "tcp", 5432)["service"] == "db"
            asked = [PROGRAM, "agent", "--check", "--state-dir", f"/{LAB}/state-dev-1"]
            checked = estate.run("dev-1", inside(estate, host, asked)).check().stdout
            for line in ("holds  broker", "holds  raw packets", "holds  privileges", "holds  sandbox", "It holds all"):
                assert line in checked
            assert [system.stop(agent) for agent in BARE] == [0, 0]
    assert len(host.unpacked()) == 1


def test_a_sweep_of_every_port_between_them(host: Host) -> None:
    drawn = pair.scene(seed=17)
    with Estate(drawn.plan) as estate:
        for agent in pair.AGENTS:
            serve(estate, agent, [(protocol, port) for name, protocol, port in drawn.services if name == agent])
        system = Bare(estate, drawn.topology, {agent: agent for agent in pair.AGENTS}, host)
        with told(system):
            system.deploy()
            _, body = system.verify("--sweep", "--cells")
            judged(drawn, body["cells"])


def test_try_between_them(host: Host) -> None:
    with Estate(small.plan([MEET, TO_APP])) as estate:
        serve(estate, "prod-1", [("tcp", 8000), ("tcp", 8001)])
        line = estate.directory / "line"
        with line.open("wb") as said, (estate.directory / "out").open("wb") as out:
            command = [PROGRAM, "try", "--to", f"{PROD}:8000,8001", "-o", "json"]
            there = estate.spawn("prod-1", inside(estate, host, command), stdout=out, stderr=said)
        system = System(estate, "", {})
        system.wait_for(lambda: "\nsegwatch try " in line.read_text() and line.read_text().endswith("\n"), "the line")
        (given,) = (text.split()[2] for text in line.read_text().splitlines() if text.startswith("segwatch try "))
        here = estate.run("dev-1", inside(estate, host, [PROGRAM, "try", given, "-o", "json"]))
        assert (here.returncode, there.wait(120)) == (1, 1), here
        cells = {cell["ports"]: (cell["reachability"], cell["proof"]) for cell in json.loads(here.stdout)["cells"]}
        assert cells == {"8000": ("reachable", "replied"), "8001": ("blocked", "witnessed")}


@pytest.mark.parametrize(
    ("database", "name", "address"),
    [
        ("files dns", "db.prod.internal", "127.0.0.7"),
        ("dns files", "db.prod.internal", "127.0.0.9"),
        ("nonsense dns", "db.prod.internal", "127.0.0.9"),
        ("myhostname", "db.localhost", "::1"),  # by a library of the host, made for an older C library
    ],
)
def test_names_are_resolved_as_the_host_does(host: Host, database: str, name: str, address: str) -> None:
    (host.root / "etc/nsswitch.conf").write_text(f"passwd: compat\nhosts: {database}\n")
    (host.root / "etc/hosts").write_text("127.0.0.7 db.prod.internal\n")
    (host.root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    server = ["dnsmasq", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--listen-address=127.0.0.1"]
    first = " ".join([*server, "--bind-interfaces", "--address=/db.prod.internal/127.0.0.9"])
    said = host.run(PROGRAM, "probe", "tcp", f"{name}:9", "-o", "json", first=first, code=None).stdout
    assert json.loads(said)["address"] == address


def test_the_capability_that_a_unit_gives_reaches_the_packet_child_alone(host: Host, bundle: Path) -> None:
    shutil.copy(bundle, host.root / "tmp/dev-1.tar")
    host.run("chown", str(USER), "/tmp/dev-1.tar")
    users = f"root:x:0:0::/root:/bin/sh\nsegwatch:x:{USER}:{USER}::/:/bin/false\n"
    known = f"printf '{users}' >etc/passwd.test; mount --bind etc/passwd.test etc/passwd".replace("\n", "\\n")
    ambient = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all,+net_raw"]
    ambient += ["--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw", "--no-new-privs"]
    check = [PROGRAM, "agent", "--check", "--bundle", "/tmp/dev-1.tar", "--state-dir", "/tmp/state"]
    said = host.run(*ambient, *check, first=known, code=1).stdout  # there is no broker
    assert "holds  raw packets" in said
    assert f"holds  user         segwatch ({USER})" in said
    assert "holds  privileges   daemon none, packet child CAP_NET_RAW" in said
    without = host.run(*check, user=USER, code=1).stdout
    assert "LACKS  raw packets" in without


def test_its_unit_starts_the_file_itself(host: Host, bundle: Path) -> None:
    shutil.copy(bundle, host.root / "tmp/dev-1.tar")
    host.run(PROGRAM, "install", "agent", "--bundle", "/tmp/dev-1.tar", "--root", "/tmp/stage")
    unit = (host.root / "tmp/stage/etc/systemd/system/segwatch-agent.service").read_text()
    assert f"ExecStart={PROGRAM} agent --state-dir /var/lib/segwatch/agent --log json\n" in unit
    host.run("cp", PROGRAM, "/tmp/segwatch-agent")
    refused = host.run("/tmp/segwatch-agent", "install", "agent", "--bundle", "/tmp/dev-1.tar", "--dry-run", code=2)
    assert "install /tmp/segwatch-agent /usr/local/bin/" in refused.stderr


def test_what_it_does_not_carry_is_said(host: Host) -> None:
    said = host.run(PROGRAM, "demo", code=2).stderr
    assert f"needs parts that are not in {PROGRAM} (" in said
    assert "use an install of segwatch[coordinator]" in said
    assert "segwatch" in host.run(PROGRAM, "completion", "bash").stdout
    verbs = ("agent", "probe", "try", "install", "uninstall", "matrix", "findings", "support-bundle", "coordinator")
    for verb in verbs:
        assert "Usage: segwatch" in host.run(PROGRAM, verb, "--help").stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an agent whose coordinator is nowhere."""
    made = tmp_path_factory.mktemp("bundle")
    pki = ("--dir", str(made / "pki"), "-f", str(ROOT / "topology.yaml"))
    out = made / "dev-1.tar"
    for arguments in (
        ("pki", "init", *pki),
        ("pki", "agent", "dev-1", *pki, "--broker", "mqtts://127.0.0.1:9", "--out", str(out)),
    ):
        done = CliRunner().invoke(cli, list(arguments))
        assert done.exit_code == 0, done.output
    return out
