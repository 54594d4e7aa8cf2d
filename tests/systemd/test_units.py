"""The units that `segwatch install` writes, under a systemd that has booted: started, used, broken, taken away."""

from __future__ import annotations

import shlex
from xml.etree import ElementTree as ET

import pytest

from tests.systemd import service
from tests.systemd.machines import Estate, Machine
from tests.systemd.service import AGENT, COORDINATOR, STATE, VERIFY

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(1800)]

RAW = 1 << 13  # CAP_NET_RAW: the daemon may hand it to its packet child and not use it itself
# A unit's own lines that a transient one, which runs another command once, has no use for.
NOT_OF_THE_SANDBOX = ("Exec", "Restart", "Type=", "NotifyAccess", "Watchdog", "Timeout", "StateDirectory")
ON_PATH = "ln -sf /opt/segwatch/bin/segwatch /usr/local/bin/segwatch"
FIND_LEFT = r"find / -xdev \( -path /opt -o -path /proc -o -path /sys -o -path /root -o -path /tmp \) -prune -o -iname '*segwatch*' -print"


@pytest.fixture
def estate(with_venv: Estate) -> Estate:
    """All is installed and runs."""
    for machine in with_venv.machines:
        machine.shell(ON_PATH)
    service.install_coordinator(with_venv.core)
    service.start_coordinator(with_venv.core)
    service.start_agents(with_venv)
    return with_venv


def complaints(machine: Machine, unit: str) -> str:
    """What the unit said, or systemd of it, as a warning or worse."""
    return machine.run("journalctl", "--output=cat", "--no-pager", "--priority=warning", f"--unit={unit}")


def test_the_daemons_run_as_their_users_with_their_capabilities_and_no_more(estate: Estate) -> None:
    for machine, unit, user, kept in (
        (estate.core, COORDINATOR, "segwatch-coordinator", 0),
        (estate.dev, AGENT, "segwatch", RAW),
        (estate.prod, AGENT, "segwatch", RAW),
    ):
        assert service.show(machine, unit, "ActiveState") == "active"
        assert machine.run("systemctl", "is-enabled", unit).strip() == "enabled"
        held = service.holds(machine, unit)
        assert set(held["Uid"].split()) == {machine.run("id", "--user", user).strip()}
        assert [int(held[kind], 16) for kind in ("CapEff", "CapAmb", "CapPrm", "CapBnd")] == [0, 0, kept, kept]
        assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", "2")
        assert complaints(machine, unit) == ""
    kept_by = estate.core.shell(f"stat --format '%U %a' {STATE}/coordinator /etc/segwatch/pki /etc/segwatch/pki/ca.key")
    assert kept_by.splitlines() == [f"segwatch-coordinator {mode}" for mode in ("700", "700", "600")]
    assert estate.dev.shell(f"stat --format '%U %a' {STATE}/agent").split() == ["segwatch", "700"]


def test_the_periodic_test_passes_fails_and_is_not_proven(estate: Estate) -> None:
    core = estate.core
    code, said = service.verify(core)
    assert code == 0, said
    assert "PASS" in said
    found = service.result(core)
    assert (found["result"], found["summary"]["fail"], found["coverage"]) == ("pass", 0, 1.0)
    assert core.run("journalctl", "--output=cat", "--no-pager", "--priority=err", f"--unit={VERIFY}") == ""
    assert "segwatch-verify.timer" in core.run("systemctl", "list-timers", "--no-pager")

    estate.nft("add rule inet sealed leak ip saddr 10.10.0.10 ip daddr 10.20.0.10 tcp dport 22 accept")
    code, said = service.verify(core)
    assert code == 1, said
    errors = core.run("journalctl", "--output=cat", "--no-pager", "--priority=err", f"--unit={VERIFY}")
    assert "✗ dev → prod 10.20.0.10 tcp/22" in errors
    assert service.show(core, VERIFY, "ActiveState") == "failed"
    junit = ET.fromstring(core.get(f"{STATE}/verify/junit.xml"))
    assert [case for case in junit.iter("testcase") if case.find("failure") is not None]

    estate.nft("flush chain inet sealed leak")
    estate.prod.shell(f"systemctl stop {AGENT}")
    code, said = service.verify(core)
    assert code == 3, said
    assert service.result(core)["result"] == "inconclusive"

    core.shell(f"systemctl stop {COORDINATOR}")
    code, said = service.verify(core)
    assert code == 2, said
    estate.prod.shell(f"systemctl start {AGENT}")
    core.shell(f"systemctl start {COORDINATOR}")
    service.connected(estate)
    code, said = service.verify(core)
    assert code == 0, said
    assert service.show(core, VERIFY, "ActiveState") == "inactive"


def test_a_topology_is_read_again_by_reload_and_a_bad_one_refused(estate: Estate) -> None:
    core = estate.core
    before = service.show(core, COORDINATOR, "MainPID")
    good = core.get("/etc/segwatch/topology.yaml")
    core.put("/etc/segwatch/topology.yaml", good + b"nonsense\n")
    core.shell(f"systemctl reload {COORDINATOR}")
    core.until(f"journalctl --unit={COORDINATOR} | grep 'the old one stays in force'", "the topology to be refused")
    core.put("/etc/segwatch/topology.yaml", good.replace(b"[tcp/8080]", b"[tcp/8080, tcp/8081]"))
    core.shell(f"systemctl reload {COORDINATOR}")
    core.until(f"journalctl --unit={COORDINATOR} | grep 'topology loaded'", "the new topology")
    assert service.show(core, COORDINATOR, "MainPID") == before
    assert service.show(core, COORDINATOR, "ActiveState") == "active"


def test_what_is_killed_comes_back_and_the_test_passes(estate: Estate) -> None:
    estate.core.shell(f"kill -KILL $({service.main_pid(COORDINATOR)})")
    estate.dev.shell(f"kill -KILL $({service.main_pid(AGENT)})")
    for machine, unit in ((estate.core, COORDINATOR), (estate.dev, AGENT)):
        machine.until(f"test $(systemctl show --property=NRestarts --value {unit}) = 1", "systemd to start it again")
        machine.until(f"systemctl is-active {unit}", "it to be active")
    estate.prod.shell(f"systemctl restart {AGENT}")
    service.connected(estate)
    code, said = service.verify(estate.core)
    assert code == 0, said


def in_the_sandbox(machine: Machine, *, but: str = "") -> str:
    """`agent --check` with all that the agent's unit says of its process; `but` is another value of one line."""
    lines = machine.run("systemctl", "cat", AGENT).partition("[Service]")[2].partition("[Install]")[0].splitlines()
    sandbox = [line for line in lines if "=" in line and not line.startswith(("#", *NOT_OF_THE_SANDBOX))]
    assert "MemoryDenyWriteExecute=yes" in sandbox
    name = but.partition("=")[0]
    sandbox = [line for line in sandbox if not but or not line.startswith(f"{name}=")] + [but] * bool(but)
    options = " ".join(shlex.quote(f"--property={line}") for line in sandbox)
    check = f"segwatch agent --check --state-dir {STATE}/agent"
    return machine.shell(f"systemd-run --quiet --pipe --wait --collect {options} {check} || echo exit $?")


def test_check_inside_the_units_sandbox_says_what_that_allows(estate: Estate) -> None:
    said = in_the_sandbox(estate.dev)
    assert "It holds all that it needs." in said, said
    for family, missing in (("AF_NETLINK", "netlink sockets"), ("AF_PACKET", "packet sockets")):
        others = " ".join({"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"} - {family})
        said = in_the_sandbox(estate.dev, but=f"RestrictAddressFamilies={others}")
        assert "Traceback" not in said
        assert "LACKS" in said
        assert missing in said
        assert "RestrictAddressFamilies=" in said


def test_installed_twice_and_taken_away_twice_it_harms_nothing_and_leaves_nothing(estate: Estate) -> None:
    core, dev = estate.core, estate.dev
    for machine, unit in ((core, COORDINATOR), (dev, AGENT)):
        before = service.show(machine, unit, "MainPID")
        again = core.shell(service.INSTALLED) if machine is core else service.install_agent(machine, core)
        assert not [line for line in again.splitlines() if line.startswith(("write", "replace", "make"))], again
        assert service.show(machine, unit, "MainPID") == before
    assert service.verify(core)[0] == 0

    for role in ("verify-timer", "coordinator", "agent", "agent"):
        for machine in (core, dev):
            machine.shell(f"segwatch uninstall {role}")
    for machine in (core, dev):
        assert machine.shell("getent passwd | grep segwatch || true") == ""
        assert machine.shell("ps -eo args | grep [s]egwatch || true") == ""
        assert machine.run("systemctl", "--failed", "--no-legend") == ""
        left = set(machine.shell(FIND_LEFT).splitlines()) - {"/usr/local/bin/segwatch"}
        assert left == ({"/etc/segwatch"} if machine is core else set())
    kept = core.shell("find /etc/segwatch -type f -printf '%f %u\n' | sort").split("\n")
    assert "topology.yaml root" in kept
    assert "ca.key root" in kept
    assert "coordinator.yaml root" not in kept

    core.shell(service.INSTALLED)
    estate.prod.shell(f"systemctl stop {AGENT}")  # a new bundle is not put under an agent that runs
    service.start_coordinator(core)
    service.start_agents(estate)
    code, said = service.verify(core)
    assert code == 0, said
