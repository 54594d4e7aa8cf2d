"""How a report names the topology."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.formats.table import uri_of


def test_reports_name_the_topology_as_the_checkout_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uri_of(Path("infra/top ology.yaml"), "/etc/x.yaml") == "infra/top%20ology.yaml"
    assert uri_of(tmp_path / "a" / "t.yaml", "x") == "a/t.yaml"
    assert uri_of(None, "/etc/segwatch/topology.yaml") == "topology.yaml"
    assert uri_of(None, "topology.yaml") == "topology.yaml"
