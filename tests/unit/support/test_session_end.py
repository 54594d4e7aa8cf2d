"""What a run does about a lab test that fails, on small suites in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.support.paths import ROOT
from tests.support.session_end import OFF

ONCE = """
    import pathlib, pytest
    MARK = pathlib.Path(__file__).with_suffix(".seen")

    @pytest.mark.{mark}
    def test_that_fails_once(where):
        first = not MARK.exists()
        MARK.touch()
        assert not first, "a packet was lost"

    @pytest.fixture
    def where():
        yield
        {teardown}

    def test_that_passes():
        pass
"""
ALWAYS = """
    import pytest

    @pytest.mark.lab
    @pytest.mark.parametrize("number", range({count}))
    def test_that_fails(number):
        assert False, "it is broken"
"""


def run(
    tmp_path: Path, content: str, *arguments: str, told: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    (tmp_path / "test_it.py").write_text("\n".join(line[4:] for line in content.splitlines()))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  lab: packets\n  unit: none\n")
    bare = {name: value for name, value in os.environ.items() if name != OFF}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.session_end", "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path,
        env={**bare, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **told},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("at_a_time", [(), ("-p", "xdist", "-n", "2")], ids=["one", "two"])
def test_what_passes_alone_is_green_and_named(tmp_path: Path, at_a_time: tuple[str, ...]) -> None:
    code, said = run(tmp_path, ONCE.format(mark="lab", teardown="pass"), *at_a_time)
    assert code == 0, said
    *_, flaky, closing = said.splitlines()
    assert flaky == "flaky: test_it.py::test_that_fails_once"
    assert "2 passed" in closing
    assert "failed" not in closing
    assert "a packet was lost" in said, "the first failure's text is kept"


def test_an_error_after_the_test_is_tried_again_too(tmp_path: Path) -> None:
    content = ONCE.format(mark="lab", teardown="assert MARK.exists(), MARK.touch()").replace(
        "        MARK.touch()\n", ""
    )
    code, said = run(tmp_path, content.replace("assert not first", "assert True"))
    assert code == 0, said
    assert "flaky: test_it.py::test_that_fails_once" in said
    assert said.splitlines()[-1].count("2 passed") == 1


def test_a_test_without_packets_is_never_run_twice(tmp_path: Path) -> None:
    code, said = run(tmp_path, ONCE.format(mark="unit", teardown="pass"))
    assert code == 1
    assert "1 failed, 1 passed" in said.splitlines()[-1]
    assert "once more" not in said


def test_what_fails_twice_is_red_with_both_texts(tmp_path: Path) -> None:
    code, said = run(tmp_path, ALWAYS.format(count=1))
    assert code == 1
    assert "1 failed" in said.splitlines()[-1]
    assert said.count("once more, alone: ") == 1
    assert said.count("AssertionError: it is broken") >= 2


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    code, said = run(tmp_path, ALWAYS.format(count=6))
    assert code == 1
    assert "6 failed" in said.splitlines()[-1]
    assert "once more" not in said


def test_it_can_be_told_not_to(tmp_path: Path) -> None:
    code, said = run(tmp_path, ONCE.format(mark="lab", teardown="pass"), told={OFF: "1"})
    assert code == 1
    assert "once more" not in said
