"""The wheel holds exactly the roots that the layout names, and the data files that the code reads."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.paths import ROOT

ROOTS = {"reachability", "wire", "probes", "agent", "coordinator", "lab", "cli"}


def test_wheel_holds_exactly_the_roots(tmp_path: Path) -> None:
    # By the backend that is installed: in a build of its own pip would fetch one, and the network has no part in this.
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("segwatch-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == ROOTS
    for data in ("reachability/catalogue.json", "coordinator/topology.schema.json", "lab/topology.yaml"):
        assert data in names
