"""The archive: bounded, filtered, and it says what each file is and what is missing."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime

import pytest

from cli.support.archive import HALF, MOST_BYTES, Archive, plain, size
from cli.support.keys import forms_of
from cli.support.redact import REMOVED, Filter

MADE = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
TOKEN = b"a-token-of-thirty-two-characters"


def unpacked(archive: Archive) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive.packed("top", MADE))) as tar:
        members = list(tar)
        assert {(m.mode, m.uid, m.gid, m.uname, m.mtime, m.isfile()) for m in members} == {
            (0o600, 0, 0, "", int(MADE.timestamp()), True)
        }
        files = {member.name.removeprefix("top/"): tar.extractfile(member) for member in members}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_each_file_has_its_line_and_what_is_missing_its_sentence() -> None:
    archive = Archive(Filter(forms_of(TOKEN)))
    archive.body("a.json", "the answer", {"token": "x", "note": TOKEN.decode()})
    archive.text("logs/1.log", "what was logged", b"one\n" + TOKEN + b"\n")
    archive.text("logs/2.log", "what was logged", b"two\n")
    archive.lack(f"status.json: https://me:pw@host/{TOKEN.decode()} does not answer")
    files = unpacked(archive)
    assert json.loads(files["a.json"]) == {"token": REMOVED, "note": REMOVED}
    assert files["logs/1.log"].decode() == f"one\n{REMOVED}\n"
    readme = files["README.txt"].decode()
    assert "a.json               the answer\n" in readme
    assert "logs/                what was logged (2 files)\n" in readme
    assert f"Not in it:\n- status.json: https://{REMOVED}@host/{REMOVED} does not answer" in readme
    assert "[removed] (5 times)" in readme
    assert archive.screen.removed == 5


def test_what_is_too_long_is_cut_and_that_is_said() -> None:
    archive = Archive(Filter(()), most_file=1000)
    archive.body("matrix.json", "cells", ["x" * 3000])
    archive.text("long.log", "log", b"begin" + b"y" * 3000 + b"end")
    archive.text("tail.log", "log", b"z" * 500, most=100)
    assert [(entry.name, len(entry.data)) for entry in archive.entries] == [
        ("matrix.json.cut", 1000),
        ("long.log", 1000),
        ("tail.log", 100),
    ]
    assert archive.entries[1].data.endswith(b"yend")
    assert archive.cuts == [
        "matrix.json.cut: it has the first 1000 bytes of 2.9 KiB",
        "long.log: it has the last 1000 bytes of 2.9 KiB",
        "tail.log: it has the last 100 bytes of 500 bytes",
    ]
    assert "Cut:\n- matrix.json.cut" in unpacked(archive)["README.txt"].decode()


def test_of_a_secret_in_two_halves_none_is_left() -> None:
    archive = Archive(Filter(forms_of(TOKEN)))
    archive.text("a.log", "log", TOKEN[10:] + b"x" * HALF + b" rest of the line\nthe next\n", before=10_000)
    (entry,) = archive.entries
    assert entry.data == b"the next\n"
    assert entry.cut == "it has the last 9 bytes of 17.8 KiB"


def test_all_of_it_is_bounded() -> None:
    archive = Archive(Filter(()), most=4000, most_file=2000)
    for number in range(5):
        archive.text(f"{number}.log", "log", b"x" * 1800)
    assert [len(entry.data) for entry in archive.entries] == [1800, 1200]
    assert archive.lacks == [f"{number}.log (1.8 KiB): the archive is full" for number in (2, 3, 4)]
    assert sum(map(len, unpacked(archive).values())) <= 4000
    many = Archive(Filter(()))
    for number in range(100_000):
        many.lack(f"{number} " + "x" * 1000)
    assert len(unpacked(many)["README.txt"]) < 300_000


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (812, "812 bytes"), (1229, "1.2 KiB"), (MOST_BYTES, "64.0 MiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_a_name_leads_nowhere_else() -> None:
    names = ("01JD-a.b", "../../etc/x", "..", "", "a b/c\n")
    assert [plain(name) for name in names] == ["01JD-a.b", "-..-etc-x", "-", "-", "a-b-c-"]
