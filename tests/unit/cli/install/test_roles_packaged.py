"""A package's units and users, and those that `segwatch install` writes: one of the two is in force, and which is said."""

from pathlib import Path

import pytest

from cli.install import roles, units
from cli.install.host import Host

PROGRAM = "/usr/lib/segwatch/bin/segwatch"
TIMER = f"{units.VERIFY}.timer"
OWN, PACKAGED = units.UNITS / TIMER, units.PACKAGED[units.UNITS] / TIMER


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(tmp_path: Path, said: list[str]) -> Host:
    """A staging directory with a package's files."""
    made = Host(tmp_path, dry_run=False, say=said.append)
    made.put(PACKAGED, units.timer("hourly").encode())
    made.put(PACKAGED.with_name(f"{units.VERIFY}.service"), units.verify(PROGRAM).encode())
    user = units.sysusers(units.COORDINATOR_USER, "segwatch coordinator")
    made.put(units.PACKAGED[units.USERS] / f"{units.COORDINATOR_USER}.conf", user.encode())
    said.clear()
    return made


def test_what_a_package_brought_is_not_written_again(host: Host, said: list[str]) -> None:
    roles.install_verify(host, PROGRAM, "hourly")
    assert f"unchanged  {PACKAGED}" in said
    assert not host.at(units.UNITS).exists()
    assert not host.at(units.USERS).exists()


def test_another_time_is_written_and_goes_when_it_is_the_packages_again(host: Host, said: list[str]) -> None:
    roles.install_verify(host, PROGRAM, "daily")
    assert host.at(OWN).read_text() == units.timer("daily")
    roles.install_verify(host, PROGRAM, "hourly")
    assert f"remove     {OWN}" in said
    assert not host.at(OWN).exists()


def test_a_package_keeps_its_units_and_its_user(host: Host, said: list[str]) -> None:
    roles.install_verify(host, PROGRAM, "daily")
    roles.uninstall(host, "verify-timer", keep_state=False)
    assert said[-1] == f"keep       the user {units.COORDINATOR_USER}: it is the package's, as the unit is"
    assert host.at(PACKAGED).exists()
    assert not host.at(OWN).exists()
    assert not host.at(units.STATE / "verify").exists()


def test_when_the_timer_ran_goes_with_it(host: Host) -> None:
    host.put(units.stamp(TIMER), b"")
    roles.uninstall(host, "verify-timer", keep_state=False)
    assert not host.at(units.stamp(TIMER)).exists()
