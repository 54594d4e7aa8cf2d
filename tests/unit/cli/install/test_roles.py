"""What is put in place for a role takes nobody else's place."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import cli
from tests.support.bundles import bundle


def install(root: Path, tar: Path, *more: str) -> Result:
    given = ["--root", str(root), "--program", "/opt/segwatch/bin/segwatch", "--bundle", str(tar), *more]
    return CliRunner().invoke(cli, ["install", "agent", *given])


def test_a_bundle_of_another_agent_does_not_take_its_place(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert install(root, bundle(tmp_path / "dev-1.tar")).exit_code == 0
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    other = bundle(tmp_path / "prod-1.tar", "prod-1", "prod")
    for more in ((), ("--dry-run",)):
        done = install(root, other, *more)
        assert done.exit_code == 2
        assert (
            "var/lib/segwatch/agent is the state directory of agent dev-1, and what is given is for prod-1"
            in done.output
        )
        assert "Where it is to take dev-1's place: move " in done.output
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
