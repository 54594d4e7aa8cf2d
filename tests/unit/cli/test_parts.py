"""What is said where a part is not installed; a module that is missing for another reason stays a fault."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import click
import pytest

from cli import main, parts
from coordinator.topology.schema import _validator

ASKED = [
    "aiomqtt<3,>=2.5",
    "aiohttp<4,>=3.10; extra == 'all'",
    "aiohttp<4,>=3.10; extra == 'coordinator'",
    'prometheus-client<1,>=0.22; (python_version >= "3.11") and extra == "coordinator"',
    "pytest>=8.3; extra == 'dev'",
]
Run = Callable[[ModuleNotFoundError], int | str | None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`segwatch probe`, which comes upon this error, to its end; the exit code."""
    monkeypatch.setattr(parts, "requires", lambda _: ASKED)

    def running(error: ModuleNotFoundError) -> int | str | None:
        @click.command("probe")
        def command() -> None:
            raise error

        monkeypatch.setattr(main.Verbs, "get_command", lambda *_: command)
        with pytest.raises(SystemExit) as ended:
            main.cli.main(["probe"])
        return ended.value.code

    return running


@pytest.mark.parametrize(
    ("module", "distribution"), [("aiohttp", "aiohttp"), ("prometheus_client", "prometheus-client")]
)
def test_the_part_and_how_to_install_it(
    run: Run, capsys: pytest.CaptureFixture[str], module: str, distribution: str
) -> None:
    assert run(ModuleNotFoundError(name=module)) == 2
    said = f"segwatch probe: needs parts that are not installed ({distribution}): pip install 'segwatch[coordinator]'\n"
    assert capsys.readouterr() == ("", said)


def test_a_single_file_cannot_be_added_to(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys._xoptions, "segwatch", "/usr/local/bin/segwatch-agent")
    assert run(ModuleNotFoundError(name="aiohttp")) == 2
    said = (
        "needs parts that are not in /usr/local/bin/segwatch-agent (aiohttp): use an install of segwatch[coordinator]"
    )
    assert capsys.readouterr() == ("", f"segwatch probe: {said}\n")


def test_where_debian_packages_brought_segwatch_another_package_has_the_part(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/usr/lib/segwatch")
    assert run(ModuleNotFoundError(name="aiohttp")) == 2
    assert capsys.readouterr().err.endswith("(aiohttp): apt install segwatch-coordinator\n")


@pytest.mark.parametrize("module", ["aiomqtt", "yarl", "aiohttp.gone", "pytest", "coordinator", None])
def test_another_module_that_is_missing_is_a_fault(run: Run, module: str | None) -> None:
    with pytest.raises(ModuleNotFoundError):
        run(ModuleNotFoundError(name=module))


def test_a_checkout_that_nobody_installed_has_no_parts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(parts, "requires", absent)
    with pytest.raises(ModuleNotFoundError):
        run(ModuleNotFoundError(name="aiohttp"))


def test_an_import_in_a_function_by_the_metadata_of_this_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _validator.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    (tmp_path / "topology.yaml").write_text("version: 1\n")
    with pytest.raises(SystemExit) as ended:
        main.cli.main(["topology", "check", str(tmp_path / "topology.yaml")])
    assert ended.value.code == 2
    said = "segwatch topology: needs parts that are not installed (jsonschema): pip install 'segwatch[coordinator]'\n"
    assert capsys.readouterr() == ("", said)
