"""`segwatch coordinator --broker …` as a process, over a Mosquitto that was set up by `segwatch pki broker`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.brokers import Node
from tests.loopback.coordinators import SEGWATCH, put
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_for


def segwatch(directory: Path, line: str) -> subprocess.CompletedProcess[str]:
    command = [SEGWATCH, *line.split()]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=HANG_S, check=False)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """What an operator would do by hand; the broker is not started yet."""
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    assert segwatch(tmp_path, "pki init --dir pki -f topology.yaml -q").returncode == 0
    port, listen = free_port(), free_port()
    made = segwatch(
        tmp_path,
        f"pki broker --kind mosquitto --dir pki -f topology.yaml --listen 127.0.0.1:{port} --out broker",
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("broker: mosquitto for the coordinator and 5 agents, until ")
    assert f"mosquitto -c {tmp_path}/broker/mosquitto.conf" in made.stderr
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as conf:
        conf.write("user root\n")
    (tmp_path / "coordinator.yaml").write_text(
        f"topology: topology.yaml\npki: pki\nbroker: mqtts://127.0.0.1:{port}\nlisten: 127.0.0.1:{listen}\nstate_dir: state\n"
    )
    made_node = Node(tmp_path / "broker", port, ["mosquitto", "-c", str(tmp_path / "broker" / "mosquitto.conf")])
    try:
        yield made_node
    finally:
        made_node.kill()


@contextmanager
def coordinator(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [SEGWATCH, "coordinator", "--config", "coordinator.yaml", "--log", "json"]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(command, cwd=directory, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def status(directory: Path) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(directory / "state" / "coordinator.sock"))
            connection.sendall(b"GET /api/v1/status HTTP/1.0\r\nHost: segwatch\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
    except OSError:
        return None
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_it_waits_for_its_broker_tries_it_and_answers_controls_itself(tmp_path: Path, node: Node) -> None:
    with coordinator(tmp_path) as process:
        before = wait_for(lambda: status(tmp_path))["broker"]
        assert (before["kind"], before["connected"], before["lacks"]) == ("external", False, None)
        node.spawn()
        node.wait()
        lacks = wait_for(lambda: status(tmp_path)["broker"]["lacks"])
        assert [lack["name"] for lack in lacks] == ["suback"]
        listen = int((tmp_path / "coordinator.yaml").read_text().rpartition("listen: 127.0.0.1:")[2].split()[0])
        socket.create_connection(("127.0.0.1", listen), timeout=HANG_S).close()  # what a TCP control does
        topology = tmp_path / "topology.yaml"
        put(topology, topology.read_text().replace("dev-1:", "dev-7:"))
        wait_for(lambda: "the agents changed (dev-1, dev-7): write the broker's" in (tmp_path / "log").read_text())
        process.terminate()
        assert process.wait(HANG_S) == 0
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    named = [line for line in log if line["event"] == "the broker lacks"]
    assert [(line["level"], line["name"]) for line in named] == [("warning", "suback")]


def test_a_broker_without_access_rules_ends_it_in_words(tmp_path: Path, node: Node) -> None:
    conf = tmp_path / "broker" / "mosquitto.conf"
    conf.write_text(conf.read_text().replace("acl_file", "#"))
    node.spawn()
    node.wait()
    with coordinator(tmp_path) as process:
        assert process.wait(HANG_S) == 2
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last.startswith(f"segwatch coordinator: broker 127.0.0.1 port {node.port} lets agent ")
    assert last.endswith("its access rules are not in force. Its configuration is written by: segwatch pki broker")
