"""The lock files hold what pyproject.toml asks for, each with its hashes, one version of each for every Python."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
AGENT = PROJECT["project"]["dependencies"]
PRODUCT = AGENT + EXTRAS["coordinator"]
GROUPS = PROJECT["dependency-groups"]


def entries_of(name: str) -> list[str]:
    """What a lock file says of each package and version."""
    text = (ROOT / name).read_text()
    assert "://" not in text, "no index is written down"
    return re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]


def pinned(name: str) -> dict[str, set[str]]:
    """The versions of each package; what is written twice has markers that tell the two apart."""
    entries = entries_of(name)
    assert all("--hash=sha256:" in entry for entry in entries)
    found: dict[str, set[str]] = {}
    for package, version, marker in re.findall(r"^([\w.-]+)==(\S+)( ;.*)? \\$", "".join(entries), flags=re.MULTILINE):
        versions = found.setdefault(canonicalize_name(package), set())
        assert not versions or marker
        versions.add(version)
    assert sum(map(len, found.values())) == len(entries)
    return found


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", PRODUCT),
        ("requirements.agent.lock", AGENT),
        ("requirements.dev.lock", PRODUCT + [text for text in EXTRAS["dev"] if not text.startswith("segwatch[")]),
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


def test_an_agents_lock_file_is_a_part_of_the_whole() -> None:
    """The same versions and hashes; and nothing that only the coordinator asks for."""

    def hashed(name: str) -> dict[str, set[str]]:
        return {each.split()[0]: set(re.findall(r"sha256:\w+", each)) for each in entries_of(name)}

    agent, whole = hashed("requirements.agent.lock"), hashed("requirements.lock")
    assert agent.items() <= whole.items()
    only = {canonicalize_name(Requirement(text).name) for text in EXTRAS["coordinator"]}
    assert not only & pinned("requirements.agent.lock").keys()
