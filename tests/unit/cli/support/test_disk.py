"""Files of the host: by name, never through a link out of the state directory, never what may be a key."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
from pathlib import Path

import pytest

from cli.support import disk
from cli.support.archive import Archive
from cli.support.keys import forms_of
from cli.support.redact import REMOVED, Filter

TOKEN = b"a-token-of-thirty-two-characters"


@pytest.fixture
def archive() -> Archive:
    return Archive(Filter(forms_of(TOKEN)))


def test_the_tail_of_a_log(archive: Archive, tmp_path: Path) -> None:
    line = b"%07d nothing happened, and token=%s was not shown\n"
    (tmp_path / "a b.log").write_bytes(b"".join(line % (number, TOKEN) for number in range(60_000)))
    disk.logs(archive, [tmp_path / "a b.log"])
    (entry,) = archive.entries
    assert entry.name == "logs/01-a-b.log"
    assert len(entry.data) <= disk.LOG_TAIL
    assert entry.data.endswith(b"0059999 nothing happened, and token=" + REMOVED.encode() + b" was not shown\n")
    assert TOKEN not in entry.data
    assert entry.cut.startswith("it has the last ")


def test_what_is_no_log_is_left_out_and_said(archive: Archive, tmp_path: Path) -> None:
    for name in ("ca.key", "dev-1.tar", "TOKEN", "agent.sign", "renewed.pem", "store.sqlite"):
        (tmp_path / name).write_text("x")
    noise = random.Random(1).randbytes(5000)
    (tmp_path / "old.log.gz").write_bytes(gzip.compress(noise))
    os.mkfifo(tmp_path / "pipe")
    names = [
        "ca.key",
        "dev-1.tar",
        "TOKEN",
        "agent.sign",
        "renewed.pem",
        "store.sqlite",
        "old.log.gz",
        "pipe",
        "none",
        ".",
    ]
    disk.logs(archive, [tmp_path / name for name in names])
    assert archive.entries == []
    said = [text.partition(": ")[2] for text in archive.lacks]
    assert said[:6] == ["by its name it may hold a key or a token"] * 6
    assert said[6:] == [
        "it is no text, so that nothing could be found in it; unpack it first",
        "not a plain file",
        "no such file or directory",
        "not a plain file",
    ]


def test_a_log_with_zeros_at_its_end_is_one(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"the power went\n" + b"\0" * 4096)
    disk.logs(archive, [tmp_path / "a.log"])
    assert archive.entries[0].data.startswith(b"the power went\n")


@pytest.mark.parametrize("link", ["broker", "broker/broker.log"])
def test_no_link_leads_out_of_the_state_directory(archive: Archive, tmp_path: Path, link: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "broker.log").write_text("of somebody else")
    state = tmp_path / "state"
    (state / link).parent.mkdir(parents=True)
    (state / link).symlink_to(other if link == "broker" else other / "broker.log")
    disk.broker_log(archive, state)
    assert archive.entries == []
    assert archive.lacks[0].startswith("broker/broker.log: ")


def test_the_brokers_log(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "broker.log").write_text("[INF] Server is ready\n")
    disk.broker_log(archive, tmp_path)
    assert archive.entries[0].data == b"[INF] Server is ready\n"


def test_the_topology_in_force_and_no_other(archive: Archive, tmp_path: Path) -> None:
    state, text = tmp_path / "state", b"version: 1 # mqtts://me:pw@host\n"
    digest = hashlib.sha256(text).hexdigest()
    disk.topology(archive, "there.yaml", digest, state)
    (tmp_path / "there.yaml").write_bytes(text + b"\n")
    disk.topology(archive, "there.yaml", digest, state)
    assert archive.entries == []
    assert archive.lacks == [
        "topology.yaml, which is there.yaml to the coordinator: no such file or directory",
        "topology.yaml, which is there.yaml to the coordinator: what is there now is not the one in force",
    ]
    (tmp_path / "there.yaml").write_bytes(text)
    disk.topology(archive, "there.yaml", digest, state)
    assert archive.entries[0].data == b"version: 1 # mqtts://[removed]@host\n"
