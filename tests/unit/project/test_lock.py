"""The lock files hold what pyproject.toml asks for, each with its hashes, one version of each for every Python."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


PRODUCT = PROJECT["project"]["dependencies"]
GROUPS = PROJECT["dependency-groups"]


def pinned(name: str) -> dict[str, set[str]]:
    """The versions of each package; what is written twice has markers that tell the two apart."""
    text = (ROOT / name).read_text()
    assert "://" not in text, "no index is written down"
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    found: dict[str, set[str]] = {}
    for package, version, marker in re.findall(r"^([\w.-]+)==(\S+)( ;.*)? \\$", text, flags=re.MULTILINE):
        versions = found.setdefault(canonicalize_name(package), set())
        assert not versions or marker
        versions.add(version)
    assert sum(map(len, found.values())) == len(entries)
    return found


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", PRODUCT),
        ("requirements.dev.lock", PRODUCT + PROJECT["project"]["optional-dependencies"]["dev"]),
        ("requirements.build.lock", PROJECT["build-system"]["requires"] + GROUPS["build"]),
        ("requirements.bench.lock", GROUPS["bench"] + GROUPS["fuzz"]),
    ],
)
def test_the_lock_file_satisfies_the_project(name: str, wanted: list[str]) -> None:
    locked = pinned(name)
    for requirement in map(Requirement, wanted):
        assert any(map(requirement.specifier.contains, locked[canonicalize_name(requirement.name)])), requirement


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.build.lock", "requirements.bench.lock"])
def test_what_two_lock_files_hold_has_one_version(name: str) -> None:
    """They are installed into one environment."""
    development = pinned("requirements.dev.lock")
    assert {
        package for package, versions in pinned(name).items() if development.get(package, versions) != versions
    } == set()
