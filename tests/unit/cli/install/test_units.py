"""What the units of the daemons agree on with the daemons themselves."""

import pytest

from cli.install import units
from wire.process.progress import LOOK_S

UNITS = {
    "agent": units.agent("/opt/segwatch/bin/segwatch"),
    "coordinator": units.coordinator("/opt/segwatch/bin/segwatch", low_ports=False),
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_daemon_says_how_it_is_and_can_be_told_to_reload(unit: str) -> None:
    lines = set(unit.splitlines())
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=2min", "Restart=on-failure"} <= lines
    assert LOOK_S <= 120 / 2, "twice within the watchdog's time"
    assert "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'" in lines, "a small Debian has no /bin/kill"
    assert any(line.startswith("RestrictAddressFamilies=AF_UNIX ") for line in lines), "over which it says so"


def test_the_periodic_test_says_nothing() -> None:
    unit = units.verify("/opt/segwatch/bin/segwatch")
    assert "Type=oneshot" in unit
    assert "Watchdog" not in unit
