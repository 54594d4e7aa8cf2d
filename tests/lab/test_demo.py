"""The demo: what it says is read from the running system, and it is over in a minute."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from cli.commands.demo import Story, cell_of
from cli.show.render import Paint
from lab.demo import AGENTS, Demo
from lab.system import SEGWATCH
from tests.lab.story import told
from tests.support.paths import ROOT
from tests.support.processes import command_line

pytestmark = pytest.mark.lab

HANGS_S = 280.0  # just before the suite's own guard; how long it takes is in its last line


@pytest.mark.long
def test_the_demo_tells_its_story() -> None:
    done = subprocess.run([SEGWATCH, "demo"], capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert max(map(len, said.splitlines())) <= 100, said
    assert "\x1b" not in said, "no colour where there is no terminal"
    assert "4 environments, 11 hosts, 9 services" in said
    assert "5 agents connected" in said
    assert re.search(r"3,604 of 3,604 proven · 1 unexpected path · 0 inconclusive", said), said
    assert "dev can reach prod's model registry" in said
    assert "critical · CWE-653, CWE-668" in said
    assert "model tampering" in said
    assert "denied: no path in topology.yaml matches" in said
    assert re.search(r"firewall drops +■ blocked", said)
    assert re.search(r"target stopped +\? inconclusive", said)
    assert re.search(r"dev-1 cut off +\? inconclusive", said)
    assert re.search(r"Closing the hole in the firewall … F-\w+ resolved \d", said), said


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """All of it, running. A test leaves it as whole as it was; whether the leak is there is each test's own."""
    with Demo() as built:
        built.serve()
        built.system.deploy()
        built.system.wait_for(lambda: len(built.system.connected()) == len(AGENTS), "the agents")
        yield built


def test_each_line_changes_when_its_fault_is_taken_away(demo: Demo) -> None:
    story = Story(Paint(color=False), quiet=True)
    with told(demo.system):

        def now() -> str:
            _, body = demo.system.verify("--cells", "--from", "dev", "--to", "prod")
            return story.line("now", cell_of(body), demo)

        assert "■ blocked" in now()
        demo.estate.rules([*demo.rules, "ip saddr 10.10.0.10 ip daddr 10.30.0.10 tcp dport 22 accept"])
        assert "✗ reachable" in now(), "the firewall lets it through"
        demo.estate.rules(demo.rules)
        demo.cut_off()
        assert "? inconclusive" in now()
        demo.let_out()
        assert "■ blocked" in now()
        demo.stop_target()
        line = now()
        assert "? inconclusive" in line
        assert "from inside" in line
        demo.start_target()
        assert "■ blocked" in now()


def junit(demo: Demo) -> tuple[int, ET.Element]:
    """Exit code and document of `verify -o junit`."""
    done = demo.system.cli("verify", "--state-dir", "state", "-o", "junit")
    return done.returncode, ET.fromstring(done.stdout)


def test_the_junit_file_has_exactly_one_failure_the_leak(demo: Demo) -> None:
    with told(demo.system):
        demo.estate.rules(demo.rules)
        code, suite = junit(demo)
        cases = list(suite.iter("testcase"))
        failures = [case for case in cases if case.find("failure") is not None]
        assert code == 1
        assert len(failures) == 1
        assert [case for case in cases if case.find("error") is not None] == []
        text = ET.tostring(failures[0], encoding="unicode")
        assert "10.30.0.21" in text
        assert "tcp/5000" in text
        demo.close_leak()
        code, clean = junit(demo)
        assert code == 0
        assert len(list(clean.iter("testcase"))) == len(cases)
        assert [c for c in clean.iter("testcase") if c.find("failure") is not None or c.find("error") is not None] == []
        for path in ("findings", "matrix", "coverage"):
            said = demo.system.cli(path, "--state-dir", "state").check().stdout
            assert max(map(len, said.splitlines())) <= 100, said


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A Unix socket's path has 107 characters at most; pytest's own directories leave few of them."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_an_interrupted_demo(number: int, short_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(short_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("  system"):
                break
        mine = psutil.Process(running.pid).children(recursive=True)
        assert any("nats-server" in command_line(p) for p in mine)
        running.send_signal(number)
        running.stdout.read()
        running.wait(10)
    _, alive = psutil.wait_procs(mine, 5)
    assert not alive, [command_line(p) for p in alive]
    if number != signal.SIGKILL:
        assert list(short_path.iterdir()) == [], "its files are gone too"


def test_the_page_is_at_an_address_of_this_machine(demo: Demo) -> None:
    address = demo.show_page()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert b"<title>segwatch</title>" in answer.read()
    with urllib.request.urlopen(f"{address}api/v1/events", timeout=60) as events:
        said = iter(events.readline, b"")
        assert any(line.startswith(b"event: matrix") for line in said)
    refused = urllib.request.Request(f"{address}api/v1/stop", data=b"{}")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(refused, timeout=60)
