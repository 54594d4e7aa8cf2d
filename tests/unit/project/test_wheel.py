"""The wheel holds exactly the roots that the layout names, and the data files that the code reads."""

import zipfile
from pathlib import Path

from coordinator.api.live.files import FILES
from tests.support.wheelhouse import own_wheel

ROOTS = {"reachability", "wire", "probes", "agent", "coordinator", "lab", "cli"}


def test_wheel_holds_exactly_the_roots(tmp_path: Path) -> None:
    names = zipfile.ZipFile(own_wheel(tmp_path)).namelist()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == ROOTS
    pages = [f"coordinator/api/pages/{name}" for name in FILES]
    for data in ("reachability/catalogue.json", "coordinator/topology.schema.json", "lab/topology.yaml", *pages):
        assert data in names
