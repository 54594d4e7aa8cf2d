"""`docker-compose.test.yml` as it stands: the leak is found, closed, and a target that stops is not called closed.

The truth is the router's rules as nft has them, the sockets that are bound in each container, and what plain connections reach.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.compose import docker as machine
from tests.compose.docker import Docker
from tests.compose.truth import CROSSES, Estate, assert_held, held, in_force, listening, reached
from tests.lab.truth import CellId, unfold
from tests.support.paths import ROOT

pytestmark = pytest.mark.compose

STOPPED = ("10.30.0.10", "fd00:30::10")
RAW = 1 << 13  # CAP_NET_RAW: the daemon may hand it to its packet child and not use it itself


class Telling:
    """Each step as it is done, with its time, for whoever watches `make compose-test`."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, step: str, *lines: str) -> None:
        """The step and what came of it; further lines stand below the first."""
        now = time.monotonic()
        first, *more = (line if len(line) <= 78 else f"{line[:77]}…" for line in lines)
        print(
            f"  {step:<9} {first:<78} {now - self._began:5.1f} s",
            *(f"{'':<12}{line}" for line in more),
            sep="\n",
            flush=True,
        )
        self._began = now


@pytest.fixture
def say() -> Telling:
    print("\n")
    return Telling()


@pytest.fixture
def engine(say: Telling) -> Iterator[Docker]:
    why = machine.why_not()
    if why:
        pytest.skip(why)
    with machine.docker() as engine:
        say(
            "daemon",
            "one of its own, in a network namespace without a way out" if engine.is_own else "the one that runs",
        )
        try:
            base = machine.make_base(engine)
            say("base", base)
            engine.settings.update(BASE=base, COMPOSE_PROJECT_NAME="segwatch-test")
            with machine.wheels(engine, base):
                engine.compose("build", "-q")
            say("images", f"{sizes(engine)}, and the estate's hosts")
            yield engine
        finally:
            engine.compose("down", "--volumes", "--timeout", "0", code=None)
            say("cleaned", "containers, networks and volumes taken away")


def sizes(engine: Docker) -> str:
    """segwatch's two images, as Docker counts them."""
    listed = engine.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").stdout.splitlines()
    named = dict(line.split(maxsplit=1) for line in listed)
    return f"segwatch {named.get('segwatch:test')}, an agent's {named.get('segwatch-agent:test')}"


# -- what segwatch says -----------------------------------------------------------------------------------------------


def verify(engine: Docker, code: int) -> str:
    """`run --rm verify`, as in the compose file; what it printed."""
    return engine.compose("run", "--rm", "-T", "verify", code=code).stdout


def matrix(engine: Docker) -> dict[CellId, dict[str, Any]]:
    """Every cell by itself."""
    asked = ("segwatch", "matrix", "--cells", "-o", "json", "--state-dir", "/var/lib/segwatch")
    return unfold(json.loads(engine.inside("coordinator", *asked))["cells"])


def story(engine: Docker, cell: CellId) -> list[str]:
    """The evidence that a cell has, and what the coordinator and the agents said last."""
    agent, _, address, protocol, port = cell
    named = "icmp" if protocol == "icmp" else f"{protocol}/{port}"
    asked = ("explain", "--from", agent, "--to", address, "--port", named, "--state-dir", "/var/lib/segwatch")
    why = engine.compose("exec", "-T", "coordinator", "segwatch", *asked, code=None).stdout.splitlines()[:14]
    daemons = ("coordinator", *(name for name in engine.compose("ps", "--services").stdout.split() if "agent-" in name))
    logs = engine.compose("logs", "--no-color", "--tail", "3", *daemons, code=None).stdout.splitlines()
    return [line[:200] for line in (*why, *logs[-24:])]


def headline(printed: str) -> str:
    """What verify says first."""
    return " ".join(printed.split()).partition(" (")[0]


def junit(engine: Docker) -> ET.Element:
    """The file that the verify service left in its volume."""
    asked = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "cat", "verify", "/var/lib/segwatch/segwatch.xml")
    return ET.fromstring(engine.compose(*asked).stdout)


@pytest.mark.timeout(1800)
def test_the_leak_is_found_closed_and_a_target_that_stops_is_not_called_closed(engine: Docker, say: Telling) -> None:
    estate = Estate()
    printed = verify(engine, code=1)
    say("leak", f"exit 1  {headline(printed)}", next(line for line in printed.splitlines() if line.startswith("✗")))
    assert "dev → prod.model-registry tcp/5000" in printed
    assert printed.count("✗") == 1
    rules = in_force(engine)
    assert len(rules) == 6, "five that are declared, and the leak"
    cells = matrix(engine)
    bound = listening(engine)
    assert_held(cells, estate, rules, bound, more=partial(story, engine))
    failures = [case for case in junit(engine).iter("testcase") if case.find("failure") is not None]
    assert len(failures) == 1
    assert "10.30.0.21" in ET.tostring(failures[0], encoding="unicode")
    for service in (*(f"agent-{name}" for name in estate.agents), "coordinator"):
        kept = RAW if service != "coordinator" else 0
        process = held(engine, service)
        assert set(process["Uid"].split()) == {"10001"}, service
        assert [int(process[kind], 16) for kind in ("CapEff", "CapAmb", "CapPrm")] == [0, 0, kept], service
        assert (process["NoNewPrivs"], process["root"]) == ("1", "1"), service
    checked = engine.inside("agent-dev-1", "segwatch-start", "agent", "--check", "--state-dir", "/var/lib/segwatch")
    assert "holds  raw packets" in checked
    listed = "ls /opt/segwatch/bin /opt/segwatch/lib/python3*/site-packages"
    there = {service: engine.inside(service, "sh", "-c", listed).split() for service in ("agent-dev-1", "coordinator")}
    assert not {"aiohttp", "nats-server", "prometheus_client", "textual"} & {*there["agent-dev-1"]}
    assert {"aiohttp", "nats-server", "prometheus_client", "textual"} <= {*there["coordinator"]}
    said = engine.inside("agent-dev-1", "sh", "-c", "segwatch coordinator 2>&1; echo exit $?")
    assert said.endswith("pip install 'segwatch[coordinator]'\nexit 2\n"), said
    assert engine.inside("coordinator", "sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null || true") == ""
    answers = reached(engine, estate)
    crossed = sum(word != "silent" for word in answers.values())
    say(
        "truth",
        f"{len(cells):,} cells as rules and sockets have them; {crossed} of {len(answers):,} plain connections cross",
    )
    assert {c for c, word in answers.items() if word != "silent"} == {
        c for c in answers if cells[c]["reachability"] in CROSSES
    }, "what plain connections reach is what the matrix says to be open, and nothing else"
    assert all((word == "open") == (cells[c]["state"] == "open") for c, word in answers.items() if word != "silent")

    engine.inside("router", "close-leak")
    say("closed", f"exit 0  {headline(verify(engine, code=0))}")
    rules = in_force(engine)
    assert len(rules) == 5
    assert_held(matrix(engine), estate, rules, bound, more=partial(story, engine))
    assert not [case for case in junit(engine).iter("testcase") if case.find("failure") is not None]

    if engine.is_own:
        with engine.bridged_frames_filtered() as accepted:
            said = headline(verify(engine, code=0))
            say("bridged", f"exit 0  {said}", f"{accepted():,} frames that crossed a bridge passed iptables, too")
            assert accepted() > len(cells), "else they did not pass there"
            assert_held(matrix(engine), estate, rules, bound, more=partial(story, engine))

    engine.compose("stop", "--timeout", "0", "agent-prod-1", "prod-1")
    printed = engine.compose("run", "--rm", "-T", "--no-deps", "verify", code=3).stdout
    say("stopped", f"exit 3  {headline(printed)}")
    cells = matrix(engine)
    assert_held(cells, estate, rules, bound, but=STOPPED, more=partial(story, engine))
    silent = [entry for cell, entry in cells.items() if cell[2] in STOPPED and entry["required"]]
    assert {entry["result"] for entry in silent} == {"inconclusive"}

    engine.settings["LEAK"] = ""
    engine.compose("up", "--exit-code-from", "verify", code=0)
    say("again", "exit 0  the target is back, and the whole in one command")


def test_each_agent_mounts_its_own_bundle_and_no_other() -> None:
    declared = yaml.safe_load((ROOT / "docker-compose.test.yml").read_text())["services"]
    for name, service in declared.items():
        if name.startswith("agent-"):
            agent = name.removeprefix("agent-")
            assert service["volumes"] == [f"bundle-{agent}:/bundle:ro", f"state-{agent}:/var/lib/segwatch"]
            assert service["network_mode"] == f"service:{agent}"
            assert (service["cap_drop"], service["cap_add"], service["read_only"]) == (["ALL"], ["NET_RAW"], True)
    assert "cap_add" not in declared["coordinator"]
    assert all(
        network["internal"]
        for network in yaml.safe_load((ROOT / "docker-compose.test.yml").read_text())["networks"].values()
    )
