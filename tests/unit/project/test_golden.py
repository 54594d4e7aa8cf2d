"""What eight real estates observed is judged as it was: `make golden` writes it anew, and the diff is reviewed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.golden.recording import FINDINGS, HERE, TOPOLOGY, as_text, judged
from tests.golden.scenarios import SCENARIOS

# What each is there to show: how many cells (as ranges) fail or are waived, and by which row.
SHOWS = {
    "sealed": {},
    "leak": {("fail", 2): 1},
    "waived-and-missing": {("fail", 16): 2, ("waived", 1): 1},
    "nothing-listens": {("fail", 8): 1, ("fail", 2): 1},
    "one-way": {("fail", 14): 1},
    "host-firewall": {},
    "cut-off": {},
    "middlebox": {},
}


def test_each_is_kept() -> None:
    assert {path.name for path in HERE.iterdir() if (path / TOPOLOGY).is_file()} == set(SCENARIOS) == set(SHOWS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_judged_as_it_was(name: str) -> None:
    folder: Path = HERE / name
    assert (folder / TOPOLOGY).read_text("utf-8") == SCENARIOS[name].topology
    assert as_text(judged(folder)) == (folder / FINDINGS).read_text("utf-8"), "make golden, and look at the diff"


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_shows_what_it_is_there_for(name: str) -> None:
    cells = json.loads((HERE / name / FINDINGS).read_text("utf-8"))["cells"]
    shown = Counter((cell["result"], cell["row"]) for cell in cells if cell["result"] in {"fail", "waived"})
    assert shown == SHOWS[name]
