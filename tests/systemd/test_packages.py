"""What `make packages` makes: installed by dpkg on a Debian that has nothing of segwatch, started, tested, removed, purged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.systemd import service
from tests.systemd.machines import Estate, Machine
from tests.systemd.service import AGENT, COORDINATOR, VERIFY

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(1800)]

FIND_LEFT = r"find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /tmp \) -prune -o -iname '*segwatch*' -print | sort"


def packages() -> dict[str, Path]:
    found = {path.name.partition("_")[0]: path for path in sorted((ROOT / "dist").glob("segwatch-*.deb"))}
    if found.keys() != {"segwatch-agent", "segwatch-coordinator"}:
        pytest.skip("no packages in dist/: make packages")
    return found


def install(machine: Machine, *names: str) -> str:
    """By dpkg, which has the dependencies already; what it printed."""
    for name in names:
        machine.put(f"/tmp/{name}.deb", packages()[name].read_bytes())
    return machine.shell(f"dpkg --install {' '.join(f'/tmp/{name}.deb' for name in names)}")


def test_installed_started_removed_and_purged(bare: Estate) -> None:
    core, dev = bare.core, bare.dev
    said = install(core, "segwatch-agent", "segwatch-coordinator")
    assert "segwatch install coordinator" in said
    for machine in (dev, bare.prod):
        assert "segwatch install agent --bundle FILE" in install(machine, "segwatch-agent")
        assert machine.run("systemctl", "is-enabled", AGENT, code=1).strip() == "disabled"
        assert machine.run("systemctl", "is-active", AGENT, code=3).strip() == "inactive"
    lacks = dev.shell("segwatch coordinator || echo exit $?")
    assert lacks.endswith("apt install segwatch-coordinator\nexit 2\n"), lacks

    said = service.install_coordinator(core)
    assert "unchanged  /lib/systemd/system/segwatch-coordinator.service" in said
    service.start_coordinator(core)
    service.start_agents(bare)
    code, said = service.verify(core)
    assert code == 0, said
    for machine, own in ((core, ["segwatch-verify.timer"]), (dev, [])):  # daily is another time than the package's
        written = machine.shell("find /etc/systemd/system -maxdepth 1 -type f -name 'segwatch*' -printf '%f\n'")
        assert written.split() == own
    assert core.run("dpkg", "--verify", "segwatch-agent", "segwatch-coordinator") == "", (
        "nothing of a package has changed"
    )

    before = service.show(dev, AGENT, "MainPID")
    install(dev, "segwatch-agent")  # as an upgrade does
    assert service.show(dev, AGENT, "ActiveState") == "active"
    assert service.show(dev, AGENT, "MainPID") != before

    for _ in range(2):
        assert "keep       the user segwatch: it is the package's" in bare.prod.shell("segwatch uninstall agent")
    assert bare.prod.run("systemctl", "is-active", AGENT, code=3).strip() == "inactive"
    assert bare.prod.run("systemctl", "--failed", "--no-legend") == ""

    dev.shell("dpkg --remove segwatch-agent")
    core.shell("dpkg --remove segwatch-coordinator segwatch-agent")
    for machine in (core, dev):
        assert machine.shell("ps -eo args | grep [s]egwatch || true") == ""
        assert machine.shell("test ! -e /usr/lib/segwatch && test -d /var/lib/segwatch && echo kept") == "kept\n"
    dev.shell("dpkg --purge segwatch-agent")
    said = core.shell("dpkg --purge segwatch-coordinator segwatch-agent")
    assert "Topology and keys below /etc/segwatch stay" in said
    for machine in (core, dev):
        assert machine.shell(FIND_LEFT).split() == ["/etc/segwatch"] * (machine is core)
        assert machine.run("systemctl", "--failed", "--no-legend") == ""
        assert "segwatch:" in machine.run("getent", "passwd"), "a package's user stays"
    kept = core.shell("find /etc/segwatch -type f -printf '%f\n'").split()
    assert {"topology.yaml", "ca.key"} <= {*kept}
    assert "coordinator.yaml" not in kept


def test_a_low_port_and_a_unit_of_before_the_package(bare: Estate) -> None:
    """What the package's unit does not do stands in /etc; what it does, does not stand there a second time."""
    core = bare.core
    install(core, "segwatch-agent", "segwatch-coordinator")
    core.put("/root/topology.yaml", service.TOPOLOGY.read_bytes())
    core.shell(service.KEYED)
    put = "cd /root; segwatch install coordinator -f topology.yaml --pki pki --listen 10.0.0.10:"
    own, packaged = (f"{place}/{COORDINATOR}" for place in ("/etc/systemd/system", "/lib/systemd/system"))
    assert f"write      {own}" in core.shell(f"{put}883")
    core.shell(f"systemctl start {COORDINATOR}")
    core.until("ss -Hltn | grep 10.0.0.10:883", "the low port")
    said = core.shell(f"{put}8883")
    assert f"remove     {own}" in said
    assert f"unchanged  {packaged}" in said
    assert service.show(core, COORDINATOR, "FragmentPath").endswith(packaged)
    assert service.show(core, VERIFY, "LoadState") == "loaded"
