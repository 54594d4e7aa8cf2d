"""The ready files for pipelines, run by their own commands as they stand: a new leak, a known one, one that has ended."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
import yaml
from jsonschema import Draft4Validator

from lab.sealed import Finished
from lab.system import System
from tests.lab.small import PROD, REG, running, topology
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

CI = ROOT / "deploy" / "ci"
RUNNER = "stage-1"  # whoever runs the pipeline, in staging
OLD = f"ip saddr 10.10.0.10 ip daddr {REG} tcp dport 5000 accept"
NEW = f"ip saddr 10.10.0.10 ip daddr {PROD} tcp dport 8000 accept"
SARIF = ROOT / "tests" / "unit" / "cli" / "formats" / "sarif-2.1.0-rtm.5.json"


def github() -> list[str]:
    """What its steps run; those that always run come last in it."""
    [job] = yaml.safe_load((CI / "github-actions.yml").read_text())["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab() -> list[str]:
    """The script of its job."""
    script: list[str] = yaml.safe_load((CI / "gitlab-ci.yml").read_text())["segwatch"]["script"]
    return script


def jenkins() -> list[str]:
    """Its `sh` steps; a backslash before a line's end is taken out by Groovy."""
    text = re.sub(r"//.*", "", (CI / "Jenkinsfile").read_text())
    steps = re.findall(r"sh '''(.*?)'''|sh '([^']*)'", text, re.DOTALL)
    return [(long or short).replace("\\\n", "").strip() for long, short in steps]


class Checkout:
    """A repository with the topology and the baseline, on a host that reaches the coordinator's API alone."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.directory = system.directory / "checkout"
        self.directory.mkdir()
        shutil.copy(system.topology, self.directory / "topology.yaml")
        self.baseline = self.directory / "segwatch-baseline.yaml"
        shutil.copy(CI / "segwatch-baseline.yaml", self.baseline)

    def shell(self, command: str) -> Finished:
        token = (self.system.directory / "state" / "token").read_text().strip()
        settings = [
            "SEGWATCH_COORDINATOR=https://10.0.0.10:8600",
            f"SEGWATCH_CA_FILE={self.system.directory / 'pki' / 'ca.pem'}",
            f"SEGWATCH_TOKEN={token}",
            f"GITHUB_STEP_SUMMARY={self.directory / 'summary'}",
        ]
        argv = ["env", *settings, "bash", "-e", "-o", "pipefail", "-c", command]
        return self.system.estate.run(RUNNER, argv, cwd=self.directory, timeout_s=280)

    def run(self, commands: Callable[[], list[str]]) -> tuple[int, str]:
        """A pipeline run: its exit code, and what `verify` said. A later step runs as `always()` does."""
        for name in ("xml", "sarif", "md", "json"):
            (self.directory / f"segwatch.{name}").unlink(missing_ok=True)
        checked, verified, *always = [self.shell(command) for command in commands()]
        assert checked.returncode == 0, checked.stderr
        for done in always:
            done.check()
        return verified.returncode, " ".join((verified.stdout + verified.stderr).split())

    def file(self, kind: str) -> str:
        return (self.directory / f"segwatch.{kind}").read_text("utf-8")


@pytest.mark.long
def test_a_pipeline_fails_on_what_is_new_and_on_what_has_ended() -> None:
    assert len(github()) == 3
    assert len(gitlab()) == len(jenkins()) == 2
    assert len({" ".join(commands()[1].replace("\\\n", "").split()) for commands in (github, gitlab, jenkins)}) == 1
    paths = "paths:\n  - {name: web, from: dev, to: stage.web, expect: allowed, owner: me, justification: needed}\n"
    with running([OLD], text=topology(paths=paths), web="10.0.0.10:8600") as system:
        checkout = Checkout(system)
        # Twice by its own commands: a leak that nobody knows fails, one that is known does not.
        code, said = checkout.run(github)
        assert (code, said[:26]) == (1, "FAIL 1 unexpected path · 3"), said
        lines = checkout.baseline.read_text().splitlines()
        written = checkout.shell(lines[1].removeprefix("#").strip())
        assert written.returncode == 0, written.stdout + written.stderr
        code, said = checkout.run(github)
        assert code == 0, said
        assert "dev → prod.registry tcp/5000 is known" in said
        assert "you, until " in checkout.file("md")
        assert (checkout.directory / "summary").read_text().count("**segwatch FAIL**") == 1
        assert (checkout.directory / "summary").read_text().count("**segwatch PASS**") == 1
        assert len(ET.fromstring(checkout.file("xml")).findall(".//skipped")) == 1

        # A new leak beside the known one fails, and every report says which of the two it is.
        system.estate.rules([OLD, NEW])
        code, said = checkout.run(gitlab)
        assert code == 1, said
        body = json.loads(checkout.file("json"))
        states = {f["destination"]["service"]: (f["result"], f["baseline"]["state"]) for f in body["findings"]}
        assert states == {"registry": ("baselined", "known"), "app": ("fail", "new")}
        log = json.loads(checkout.file("sarif"))
        Draft4Validator(json.loads(SARIF.read_text("utf-8"))).validate(log)
        text = (checkout.directory / "topology.yaml").read_text().splitlines()
        for result in log["runs"][0]["results"]:
            place = result["locations"][0]["physicalLocation"]
            assert place["artifactLocation"]["uri"] == "topology.yaml"
            assert text[place["region"]["startLine"] - 1].strip().startswith("- {name: web,")
        assert checkout.file("md").count("\n- ✗ **") == 1

        # The new one is closed; the known one's entry ends.
        system.estate.rules([OLD])
        known = checkout.baseline.read_text()
        checkout.baseline.write_text(re.sub(r"expires: '\d{4}", "expires: '2020", known))
        code, said = checkout.run(jenkins)
        assert code == 1, said
        assert re.search(r"its entry of you ended on 2020-\d\d-\d\d \(segwatch-baseline.yaml:\d+\)", said)

        # What was proven lately is taken as it is: nothing is sent.
        checkout.baseline.write_text(known)
        before = sent_by(system, "dev-1")
        fresh = "segwatch verify --baseline segwatch-baseline.yaml --max-age 10m"
        done = checkout.shell(fresh)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "of them not probed again" in " ".join(done.stdout.split())
        assert sent_by(system, "dev-1") - before < 100


def sent_by(system: System, host: str) -> int:
    """Packets that the host has sent so far."""
    said = system.estate.run(host, ["cat", "/sys/class/net/eth0/statistics/tx_packets"]).check().stdout
    return int(said)
