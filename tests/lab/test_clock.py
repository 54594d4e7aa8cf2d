"""The coordinator's clock, set a day ahead and back while it runs: nothing is fresh for it, and nothing stays what it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.system import CORE_HOST, System
from tests.lab.small import DEV, REG, running, topology, verify
from tests.lab.truth import unfold
from tests.support.clock import Clock

pytestmark = pytest.mark.lab

DAY_S = 86400
HOLE = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"


def registry(system: System) -> str:
    """What dev's cell at the registry is, by what was observed last."""
    cells = unfold(system.ask("matrix", "--cells")["cells"])
    return str(cells["dev-1", DEV, REG, "tcp", 5000]["result"])


def test_a_clock_that_is_set_a_day_ahead_and_back_hides_no_hole(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "offset", DAY_S)
    with running(text=topology(), env={CORE_HOST: clock.env}) as system:
        assert verify(system, "--from", "dev", "--to", "prod").code == 0
        said = datetime.fromisoformat(system.api("status")["now"])
        assert (said - datetime.now(UTC)).total_seconds() > DAY_S / 2, "its clock is a day ahead"
        clock.set(0)
        system.estate.rules([HOLE])
        assert verify(system, "--from", "dev", "--to", "prod").code == 1
        assert registry(system) == "fail"
        clock.set(DAY_S)
        system.estate.rules([])
        assert verify(system, "--from", "dev", "--to", "prod").code == 0
        assert registry(system) == "pass"
