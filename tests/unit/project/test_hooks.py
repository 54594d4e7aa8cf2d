"""The hook for pre-commit: which files it is given, and what its command says of them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tests.support.pages import yaml_of
from tests.support.paths import ROOT

[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


def run(directory: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Its entry as pre-commit calls it: with the names of the files at the end."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [*shlex.split(HOOK["entry"]), *files]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, env=environment)


def test_it_is_a_hook_of_the_topology_alone() -> None:
    assert (HOOK["id"], HOOK["language"]) == ("segwatch-topology", "python")
    given = ["topology.yaml", "infra/topology.yml", "a/b/topology.yaml"]
    passed = ["my-topology.yaml", "topology.yaml.bak", "topology/other.yaml", "topologyXyaml"]
    assert [name for name in [*given, *passed] if re.search(HOOK["files"], name)] == given


def test_it_asks_for_what_an_agents_install_lacks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert HOOK["additional_dependencies"] == [
        asked for asked in project["optional-dependencies"]["coordinator"] if asked.startswith("jsonschema")
    ]


def test_the_page_uses_it_as_it_is() -> None:
    [repository] = yaml_of("pipeline.md", "repos")["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == [HOOK["id"]]


def test_its_entry_tells_good_from_bad(tmp_path: Path) -> None:
    good, bad = tmp_path / "topology.yaml", tmp_path / "infra" / "topology.yml"
    bad.parent.mkdir()
    shutil.copy(ROOT / "topology.yaml", good)
    bad.write_text(good.read_text().replace("sensitivity:", "sensitvity:", 1))
    done = run(tmp_path, "topology.yaml")
    assert done.returncode == 0, done.stderr
    done = run(tmp_path, "infra/topology.yml")
    assert done.returncode == 2
    assert re.match(r"infra/topology\.yml:\d+:\d+: unknown key 'sensitvity'", done.stderr)
    both = run(tmp_path, "topology.yaml", "infra/topology.yml")
    assert (both.returncode, both.stderr) == (2, done.stderr), "it is given all that match at once"
    assert "✓ topology.yaml" in both.stdout
