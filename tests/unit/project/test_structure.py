"""The shape of the tree: files and folders that one can take in, tests where their module is, no import that goes round."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import grimp

from tests.support.paths import ROOT

MOST_LINES, MOST_MODULES = 300, 14
PRODUCT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
UNIT = PurePosixPath("tests/unit")
# In the text of a program that a test runs too.
OF_A_TEST = re.compile(r"^ *(?:from|import) +(?:tests\b|\.).*\btest_\w+.*$", re.MULTILINE)


def tracked() -> list[PurePosixPath]:
    """The Python files that git tracks; in a copy without git, as `make mutants` makes it, all that are there."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "*.py"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [PurePosixPath(name) for name in listed.split("\0") if name]
    found = [PurePosixPath(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")]
    return [path for path in found if not any(part.startswith(".") for part in path.parts)]


FILES = tracked()
TESTS = [path for path in FILES if path.parts[0] == "tests"]


def module_of(test: PurePosixPath) -> PurePosixPath | None:
    """What a unit test is about: of test_a_b.py a_b.py, else a.py."""
    room, name = test.relative_to(UNIT).parent, test.stem.removeprefix("test_")
    while name and room / f"{name}.py" not in FILES:
        name = name.rpartition("_")[0]
    return room / f"{name}.py" if name else None


def test_no_file_is_longer_than_300_lines() -> None:
    lines = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in FILES}
    long = [f"{path}: {count} lines" for path, count in lines.items() if count > MOST_LINES]
    assert not long, "\n".join(long)


def test_no_folder_of_probes_or_coordinator_holds_more_than_14_modules() -> None:
    modules = [path for path in FILES if path.parts[0] in {"probes", "coordinator"} and path.name != "__init__.py"]
    assert modules
    folders = Counter(path.parent for path in modules)
    full = [f"{folder}: {count} modules" for folder, count in folders.items() if count > MOST_MODULES]
    assert not full, "\n".join(full)


def test_a_unit_test_is_named_for_its_module() -> None:
    tests = [path for path in TESTS if path.is_relative_to(UNIT) and path.name.startswith("test_")]
    mirrored = [path for path in tests if path.parts[2] not in {"project", "support"}]
    assert mirrored
    lost = [f"{path}: there is no such module" for path in mirrored if module_of(path) is None]
    assert not lost, "\n".join(lost)


def test_nothing_is_imported_from_a_test() -> None:
    texts = {path: (ROOT / path).read_text("utf-8") for path in TESTS}
    wrong = [f"{path}: {line.strip()}" for path, text in texts.items() for line in OF_A_TEST.findall(text)]
    assert not wrong, "\n".join(wrong)


def test_no_import_goes_round() -> None:
    """In a function or for types alone, it counts as well."""
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    circle: list[str] = []
    try:
        TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle, " is imported by ".join(circle)
