"""`verify --what-if`: another topology judged without a packet; its exit codes are those of `verify`."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.pipeline import KNOWN, Serving

ESTATE = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
    services: {notebook: {hosts: [10.10.0.10], ports: [tcp/8888]}}
  test:
    networks: [10.15.0.0/24]
    agents: {test-1: {addresses: [10.15.0.10]}}
    services: {runner: {hosts: [10.15.0.10], ports: [tcp/8265]}}
  staging:
    networks: [10.20.0.0/24]
    agents: {staging-1: {addresses: [10.20.0.10]}}
    services: {web: {hosts: [10.20.0.10], ports: [tcp/443]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}}
    services:
      model-registry: {hosts: [10.30.0.21], ports: [tcp/5000]}
      feature-store: {hosts: [10.30.0.10], ports: [tcp/6379]}
paths:
  - {name: notebooks-write-models, from: dev, to: prod.model-registry, expect: required}
  - {name: ci-promotes-models, from: staging, to: prod.model-registry, expect: required}
"""
STRICT = ESTATE.replace(
    "  - {name: ci-promotes-models, from: staging, to: prod.model-registry, expect: required}\n", ""
)
WIDER = ESTATE.replace("ports: [tcp/443]}", "ports: [tcp/443]}\n      proxy: {hosts: [10.20.0.99], ports: [tcp/3128]}").replace(
    "    services: {web: {hosts: [10.20.0.10], ports: [tcp/443]}\n", "    services:\n      web: {hosts: [10.20.0.10], ports: [tcp/443]}\n"
).replace("tcp/3128]}}", "tcp/3128]}")  # fmt: skip


def test_all_that_is_declared_passes(serving: Serving) -> None:
    run = serving()
    result = run("--what-if", run.file("new.yaml", ESTATE))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("PASS")
    assert "nothing was sent" in " ".join(result.stdout.split())
    assert "✗" not in result.stdout
    assert "■ dev → prod 10.30.0.21 tcp/5000  fail → pass  path notebooks-write-models" in result.stdout
    assert [path for path, _ in run.fake.posted] == ["what-if"]


def test_what_no_path_declares_any_more_fails(serving: Serving) -> None:
    run = serving()
    result = run("--what-if", run.file("new.yaml", STRICT))
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL  1 failing cell")
    assert "✗ staging → prod 10.30.0.21 tcp/5000  pass → fail  no path declares it" in result.stdout
    assert result.stdout.endswith("exit 1\n")


def test_what_nobody_observed_is_unproven(serving: Serving) -> None:
    run = serving()
    file = run.file("new.yaml", WIDER)
    result = run("--what-if", file)
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("UNPROVEN")
    said = " ".join(result.stdout.split())
    assert "nobody has tried them: put it in force, then segwatch verify" in said
    assert "? dev → staging 10.20.0.99: " in said
    assert said.count("not run: no round has tried it") > 3
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert run("--what-if", file, "--allow-inconclusive").exit_code == 0


def test_every_format_has_it(serving: Serving) -> None:
    run = serving()
    file = run.file("new.yaml", STRICT)
    told = json.loads(run("--what-if", file, "-o", "json", "--cells").stdout)
    assert told["what_if"]["topology"]["file"] == file
    assert {(c["before"], c["after"]) for c in told["what_if"]["changes"]} == {("fail", "pass"), ("pass", "fail")}
    assert told["cells"]
    junit = run.file("out.xml")
    assert run("--what-if", file, "--report", f"junit={junit}").exit_code == 1
    assert ET.parse(junit).getroot().findall(".//failure")


def test_a_baseline_and_a_severity_hold_for_it(serving: Serving) -> None:
    run = serving()
    known = run.file("known.yaml", KNOWN.replace("from: dev", "from: staging"))
    result = run("--what-if", run.file("new.yaml", STRICT), "--baseline", known)
    assert result.exit_code == 0, result.output
    assert "known to fail" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "a.yaml"], "--topology (-f) is not for it"),
        (["--max-age", "1m"], "--max-age is not for it"),
        (["--timeout", "1m"], "--timeout is not for it"),
        (["--in-blackout", "--reason", "x"], "--in-blackout is not for it"),
        (["--write-baseline", "a.yaml", "--owner", "ada"], "--write-baseline is not for it"),
    ],
)
def test_what_is_for_a_run_that_probes_is_refused(serving: Serving, arguments: list[str], said: str) -> None:
    run = serving()
    result = run("--what-if", run.file("new.yaml", ESTATE), *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert run.fake.posted == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ESTATE.replace("sensitivity", "x").replace("networks: [10.10.0.0/24]", "network: [10.10.0.0/24]"),
            "did you mean 'networks'?",
        ),
        ("version: 1\n\xff", "new.yaml:2:1: "),
    ],
)
def test_a_file_with_errors_is_refused_with_all_of_them(serving: Serving, text: str, said: str) -> None:
    run = serving()
    file = Path(run.file("new.yaml"))
    file.write_bytes(text.encode("latin-1"))
    result = run("--what-if", str(file))
    assert result.exit_code == 2
    assert said in result.stderr
    assert run.fake.posted == []
    assert run("--what-if", str(file) + "-none").exit_code == 2
