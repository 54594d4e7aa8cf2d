"""The coordinator's process on loopback: its API, its socket, its signals. No agent is there, so nothing is probed."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from coordinator.api.listen import SHUTDOWN_S
from coordinator.broker.embedded import STOP_S
from tests.loopback.coordinators import Running, coordinator, put
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_for
from wire.mqtt import DISCONNECT_S
from wire.process.privileges import Held


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with coordinator(tmp_path) as made:
        yield made


def test_the_api_health_and_metrics(running: Running) -> None:
    wait_for(lambda: running.request("GET", "/healthz")[0] == 200)
    status, text = running.request("GET", "/metrics")
    assert status == 200
    assert 'segwatch_agent_up{agent="dev-1",environment="dev"} 0.0' in text
    assert 'segwatch_coverage_ratio{destination="prod",source="dev"} 0.0' in text
    assert re.search(r'segwatch_cells\{destination="prod",result="not-run",source="dev"\} [1-9]', text)
    for name in ("findings", "last_cycle_timestamp_seconds", "probe_duration_seconds"):
        assert f"# TYPE segwatch_{name}" in text
    for path in (
        "status",
        "matrix",
        "matrix?cells=1",
        "findings",
        "coverage",
        "history",
        "plan",
        "runs",
        "report",
        "draft",
    ):
        status, text = running.request("GET", f"/api/v1/{path}")
        assert status == 200, text
        json.loads(text)
    status, text = running.request("GET", "/api/v1/explain?from=dev-1&to=10.30.0.21&port=tcp/5000")
    assert (status, json.loads(text)["result"]) == (200, "not-run")
    for path in ("explain", "explain?finding=F-1", "runs/none", "findings/none", "nothing"):
        status, text = running.request("GET", f"/api/v1/{path}")
        assert status in {400, 404}
        assert json.loads(text)["error"]


def test_over_tcp_nothing_changes_without_the_token(running: Running) -> None:
    for path in ("verify", "what-if", "trace", "stop", "resume", "findings/F-1/ack"):
        assert running.request("POST", f"/api/v1/{path}")[0] == 401
    for path in ("/api/v1/status", "/metrics", "/healthz"):
        assert running.request("GET", path, Host="evil.example:80")[0] == 421, "a name that points here"
    token = (running.directory / "state" / "token").read_text().strip()
    assert running.request("POST", "/api/v1/resume", Authorization=f"Bearer {token}")[0] == 200
    assert running.request("POST", "/api/v1/resume", Authorization="Bearer x")[0] == 401
    for name in ("coordinator.sock", "token"):
        assert stat.S_IMODE((running.directory / "state" / name).stat().st_mode) == 0o600


def test_the_api_over_tls_with_the_brokers_certificate(tmp_path: Path) -> None:
    with coordinator(tmp_path, more=("--web-cert", "pki/broker.pem", "--web-key", "pki/broker.key")) as running:
        there = ("--coordinator", f"https://127.0.0.1:{running.web}", "--token-file", "state/token")
        for verb in (("matrix",), ("stop", "--reason", "a test")):
            done = running.cli(*verb, *there, "--ca-file", "pki/ca.pem")
            assert done.returncode == 0, done.stderr
        distrusted = running.cli("matrix", *there)
        assert distrusted.returncode == 2
        assert "Its certificate must be one that this host trusts, or --ca-file FILE its CA." in distrusted.stderr


def test_it_and_its_broker_hold_no_privilege(running: Running) -> None:
    (broker,) = psutil.Process(running.process.pid).children()
    for pid in (running.process.pid, broker.pid):
        held = Held.read(pid)
        assert (held.effective, held.permitted, held.no_new_privileges) == (0, 0, True)
        assert held.bounding == 0 or os.geteuid() != 0
        assert psutil.Process(pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)


# Its pauses, and what waits for the network in vain, then last until the test is over: an end that waits for one is no end.
NO_END_OF_WAITING = (
    "import coordinator.daemon, coordinator.topology.reload, wire.dial, wire.mqtt; "
    "coordinator.daemon.REVIEW_S = coordinator.topology.reload.LOOK_S = wire.dial.DIAL_S = wire.mqtt.DIAL_S = wire.mqtt.PUBLISH_S = 600.0"
)


def test_sigterm_ends_it(tmp_path: Path) -> None:
    with coordinator(tmp_path, NO_END_OF_WAITING) as running:
        wait_for(lambda: running.request("GET", "/healthz")[0] == 200)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(HANG_S) == 0
        assert not (tmp_path / "state" / "coordinator.sock").exists()
    assert STOP_S + SHUTDOWN_S + DISCONNECT_S <= 2.0, "all that it may wait for at its end"


def test_a_second_one_is_refused_and_sigterm_ends_the_first(running: Running) -> None:
    second = running.cli(
        "coordinator",
        "-f",
        "topology.yaml",
        "--pki",
        "pki",
        "--listen",
        f"127.0.0.1:{free_port()}",
        "--state-dir",
        "state",
    )
    assert second.returncode == 2
    assert f"in use by another coordinator (process {running.process.pid})" in second.stderr
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(HANG_S) == 0
    assert not (running.directory / "state" / "coordinator.sock").exists()


def test_a_token_or_a_state_directory_that_others_have_a_hand_in_is_refused(tmp_path: Path) -> None:
    with coordinator(tmp_path) as running:
        wait_for(lambda: running.request("GET", "/healthz")[0] == 200)
    again = ["coordinator", "-f", "topology.yaml", "--pki", "pki", "--listen", f"127.0.0.1:{free_port()}"]
    again += ["--web", f"127.0.0.1:{free_port()}", "--state-dir", "state"]
    for path, mode, words in (
        ("state/token", 0o644, "state/token can be read by others. Fix it: chmod 600 state/token"),
        ("state", 0o777, "state can be written by others, who could replace the keys in state. Fix it: chmod go-w"),
        ("pki/ca.key", 0o640, "pki/ca.key can be read by others. Fix it: chmod 600 pki/ca.key"),
        ("pki", 0o770, "pki can be written by others, who could replace the keys in pki. Fix it: chmod go-w"),
    ):
        before = (tmp_path / path).stat().st_mode
        (tmp_path / path).chmod(mode)
        refused = running.cli(*again)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr
        (tmp_path / path).chmod(before)


def test_a_port_in_use_or_a_newer_store_is_said_with_what_to_do(tmp_path: Path) -> None:
    with coordinator(tmp_path) as running:
        taken = f"127.0.0.1:{running.web}"
        free, command = f"127.0.0.1:{free_port()}", ["coordinator", "-f", "topology.yaml", "--pki", "pki"]
        shown = f"127.0.0.1 port {running.web}: Address already in use. Stop what listens there (ss -ltnp 'sport = :{running.web}'"
        (tmp_path / "newer").mkdir(mode=0o700)
        with closing(sqlite3.connect(tmp_path / "newer" / "store.sqlite")) as db:
            db.execute("PRAGMA user_version = 99")
        for more, words in (
            (["--listen", taken, "--state-dir", "one"], f"the broker cannot listen on {shown}"),
            (["--listen", free, "--web", taken, "--state-dir", "two"], f"the API (--web) cannot listen on {shown}"),
            (
                ["--listen", "192.0.2.77:8883", "--state-dir", "three"],
                "Cannot assign requested address. Name an address of this",
            ),
            (
                ["--listen", free, "--state-dir", "newer"],
                "newer/store.sqlite is of a newer segwatch: its schema version is 99",
            ),
        ):
            refused = running.cli(*command, *more)
            assert refused.returncode == 2
            assert words in refused.stderr
            assert "Traceback" not in refused.stderr


@pytest.mark.long
def test_verify_says_which_agents_it_waited_for_and_proves_nothing_without_them(running: Running) -> None:
    done = running.cli("verify", "--state-dir", "state", "-o", "json", "--from", "dev", "--to", "prod")
    assert done.returncode == 3
    assert "waiting for dev-1" in done.stderr
    body = json.loads(done.stdout)
    assert (body["result"], body["coverage"], body["summary"]["pass"]) == ("inconclusive", 0.0, 0)
    assert body["summary"]["not_run"] > 0


def test_a_topology_that_is_not_in_force_changes_nothing(running: Running) -> None:
    """However large it is; and here, where nothing was observed, there is nothing to judge it by."""
    before = json.loads(running.request("GET", "/api/v1/status")[1])["topology"]
    drafted = running.cli("topology", "draft", "--state-dir", "state", "--out", "draft.yaml")
    assert (drafted.returncode, drafted.stdout) == (0, ""), drafted.stderr
    assert running.cli("topology", "check", "draft.yaml").returncode == 0
    with (running.directory / "draft.yaml").open("a") as file:
        file.write("# é\n" * 100_000)
    judged = running.cli("verify", "--state-dir", "state", "--what-if", "draft.yaml")
    assert judged.returncode == 2
    assert "nothing of what draft.yaml asks for was observed under the topology in force" in judged.stderr
    assert json.loads(running.request("GET", "/api/v1/status")[1])["topology"] == before
    assert json.loads(running.request("GET", "/api/v1/runs")[1]) == []


def test_a_report_is_of_the_running_coordinator(running: Running) -> None:
    matrix, coverage, body = (
        json.loads(running.cli(verb, "--state-dir", "state", "-o", "json").stdout)
        for verb in ("matrix", "coverage", "report")
    )
    assert (body["matrix"], body["coverage"], body["result"]) == (matrix, coverage, "inconclusive")
    assert body["waivers"][0]["owner"] == "data-eng"
    done = running.cli("report", "--state-dir", "state", "--out", "report.html")
    assert done.stdout.startswith("report.html: UNPROVEN, no finding stands")
    page = (running.directory / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert f"{coverage['required']:,} required cells" in page
    assert running.cli("stop", "--state-dir", "state", "--reason", "a test", "--by", "ada").returncode == 0
    told = json.loads(running.cli("report", "--state-dir", "state", "-o", "json", "--since", "1h").stdout)["period"]
    assert [(event["what"], event["by"]) for event in told["events"]] == [("stopped", "ada")]
    never = running.cli("report", "--state-dir", "state", "-o", "json", "--since", "1h", "--until", "2h")
    assert (never.returncode, never.stdout) == (2, "")
    assert "it must begin before it ends" in never.stderr
    long = running.cli("findings", "ack", "F-1", "--by", "ada", "--reason", "x" * 501, "--state-dir", "state")
    assert (long.returncode, "at most 500 characters each" in long.stderr) == (2, True)
    for query in ("since=yesterday", "until=2026-11-01"):
        assert running.request("GET", f"/api/v1/report?{query}")[0] == 400


def test_a_trace_needs_its_agent(running: Running) -> None:
    asked = ("--from", "dev-1", "--to", "10.30.0.21", "--port", "tcp/5000", "--trace", "--state-dir", "state")
    done = running.cli("explain", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines()[-1] == "segwatch explain: dev-1 is not connected"


def test_a_broken_topology_is_refused_and_a_sighup_looks_again(running: Running) -> None:
    path = running.directory / "topology.yaml"
    good = path.read_text()

    def refused() -> Any:
        return json.loads(running.request("GET", "/api/v1/status")[1])["topology_refused"]

    put(path, good + "\nnonsense: true\n")
    assert "unknown key 'nonsense'" in wait_for(refused)["errors"][0]
    put(path, good)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: refused() is None)
