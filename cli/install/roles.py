"""What is put in place for each role, and what is taken away again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from agent.config import AgentConfig, ConfigError, Credentials, load, save
from cli.agent.setup import check_owner, leave, read_bundled
from cli.errors import Problem
from cli.install import units
from cli.install.host import Host

_OTHERS_READ = {"ca.pem", "coordinator.pem", "coordinator.pub"}
_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Role:
    """A thing to install: its units (the first is the one to start), the user they run as, and its state directory."""

    units: tuple[str, ...]
    user: str
    about: str  # the user, in sysusers.d
    state: PurePosixPath


ROLES: Mapping[str, Role] = {
    "agent": Role((f"{units.AGENT}.service",), units.AGENT_USER, "segwatch agent", units.STATE / "agent"),
    "coordinator": Role(
        (f"{units.COORDINATOR}.service",), units.COORDINATOR_USER, "segwatch coordinator", units.STATE / "coordinator"
    ),
    "verify-timer": Role(
        (f"{units.VERIFY}.timer", f"{units.VERIFY}.service"),
        units.COORDINATOR_USER,
        "segwatch coordinator",
        units.STATE / "verify",
    ),
}
PKI = units.CONFIGURATION / "pki"


def install_agent(host: Host, program: str, bundle: Path) -> None:
    """Unit, user, state directory, and the bundle in it."""
    role = ROLES["agent"]
    config, files = read_bundled(bundle)
    check_owner(config.name, host.at(role.state))
    _put_units(host, role, {f"{units.AGENT}.service": units.agent(program)})
    host.directory(role.state)
    credentials = Credentials(server_name=config.credentials.server_name)
    wanted = msgspec.structs.replace(config, credentials=credentials, state_dir=str(role.state))
    state = host.at(role.state)
    if _holds(state, wanted, files):
        host.say(f"unchanged  {role.state}: agent {config.name} of {config.environment}")
    else:
        host.say(f"{'write':<10} {role.state}: agent {config.name} of {config.environment}, from {bundle}")
        if not host.dry_run:
            leave(config, files, state)
            save(wanted, state)
    host.give(role.state, role.user)
    host.systemctl("daemon-reload")


def install_coordinator(
    host: Host,
    program: str,
    *,
    topology: bytes,
    pki: Mapping[str, bytes],
    settings: Mapping[str, str | list[str]],
    low_ports: bool,
) -> None:
    """Unit, user, state directory, and topology, keys and settings below /etc/segwatch.

    Args:
        host: where.
        program: `segwatch`'s absolute path there.
        topology: the file's content, checked.
        pki: the files of a PKI directory, checked.
        settings: `listen` and what else coordinator.yaml is to hold.
        low_ports: whether one of its ports is below 1024.
    """
    role = ROLES["coordinator"]
    _put_pki(host, pki, only_check=True)
    _put_units(host, role, {f"{units.COORDINATOR}.service": units.coordinator(program, low_ports=low_ports)})
    host.put(units.CONFIGURATION / "topology.yaml", topology)
    _put_pki(host, pki, only_check=False)
    held = {"topology": "topology.yaml", "pki": "pki", **settings, "state_dir": str(role.state)}
    lines = [f"{key}: {json.dumps(value)}" for key, value in held.items()]
    host.put(units.CONFIGURATION / "coordinator.yaml", "\n".join((*lines, "")).encode())
    # What root did there, and a staging directory's keys.
    _place(host, units.OWNERS, f"{role.user}.conf", units.owned(PKI, role.user))
    host.directory(role.state)
    host.give(PKI, role.user)
    host.give(role.state, role.user)
    host.systemctl("daemon-reload")


def install_verify(host: Host, program: str, calendar: str) -> None:
    """Service and timer of the periodic test, and the directory of its results."""
    role = ROLES["verify-timer"]
    _check_calendar(calendar)
    service, timer = units.verify(program), units.timer(calendar)
    _put_units(host, role, {f"{units.VERIFY}.service": service, f"{units.VERIFY}.timer": timer})
    host.directory(role.state)
    host.give(role.state, role.user)
    host.systemctl("daemon-reload")


def uninstall(host: Host, name: str, *, keep_state: bool) -> None:
    """Stop it, and take away unit, state directory, and the user where no other unit runs as it."""
    role = ROLES[name]
    if any(_is_there(host, unit) for unit in role.units):
        host.systemctl("disable", "--now", *role.units[:1])
        host.systemctl("stop", *role.units)
        host.systemctl("reset-failed", *role.units, may_fail=True)  # one that never ran has nothing to forget
    for unit in role.units:
        for target in ("multi-user.target.wants", "timers.target.wants"):
            host.remove(units.UNITS / target / unit)
        host.remove(units.UNITS / unit)
        host.remove(units.stamp(unit))
    host.systemctl("daemon-reload")
    if name == "coordinator":
        host.remove(units.CONFIGURATION / "coordinator.yaml")
        if not keep_state:
            host.remove(units.OWNERS / f"{role.user}.conf")
    if keep_state:
        host.say(f"{'keep':<10} {role.state}/ and the user {role.user}")
        return
    host.remove(role.state)
    host.remove_empty(units.STATE)
    if host.at(units.PACKAGED[units.USERS] / f"{role.user}.conf").exists():
        host.say(f"{'keep':<10} the user {role.user}: it is the package's, as the unit is")
        return
    beside = [other for key, other in ROLES.items() if key != name and other.user == role.user]
    if any(_is_there(host, other.units[0]) or host.at(other.state).exists() for other in beside):
        host.say(f"{'keep':<10} the user {role.user}: another unit runs as it")
        return
    if host.at(PKI).is_dir() and role.user == units.COORDINATOR_USER:
        host.give(PKI, "root")  # the number may be another user's some day
        host.say(f"{'keep':<10} {PKI}/: every agent's bundle depends on its keys. Remove it yourself, or install again")
    host.remove(units.USERS / f"{role.user}.conf")
    host.remove_user(role.user)


def _put_units(host: Host, role: Role, texts: Mapping[str, str]) -> None:
    described = _place(host, units.USERS, f"{role.user}.conf", units.sysusers(role.user, role.about))
    host.make_user(role.user, described)
    for unit, text in texts.items():
        _place(host, units.UNITS, unit, text)


def _place(host: Host, directory: PurePosixPath, name: str, text: str) -> PurePosixPath:
    """A file that systemd reads, in /etc; a package's that says the same does, and nothing stands before it then."""
    own, packaged = directory / name, units.PACKAGED[directory] / name
    if host.holds(packaged, text.encode()):
        host.remove(own)
        host.say(f"unchanged  {packaged}")
        return packaged
    host.put(own, text.encode())
    return own


def _is_there(host: Host, unit: str) -> bool:
    return any(host.at(place / unit).exists() for place in (units.UNITS, units.PACKAGED[units.UNITS]))


def _holds(state: Path, wanted: AgentConfig, files: Mapping[str, bytes]) -> bool:
    """Whether this very bundle is there already; what the agent renewed since is left alone then."""
    try:
        if load(state) != wanted:
            return False
        names = {"certificate": "agent.pem", "key": "agent.key", "ca": "ca.pem", "coordinator": "coordinator.pub"}
        return all((state / name).read_bytes() == files[kind] for kind, name in names.items())
    except (ConfigError, OSError):
        return False


def _put_pki(host: Host, pki: Mapping[str, bytes], *, only_check: bool) -> None:
    """The keys; those that are there stay, with what was issued and revoked since. Problem when they are another CA's."""
    there = host.at(PKI / "ca.pem")
    if there.is_file():
        if there.read_bytes() != pki["ca.pem"]:
            raise Problem(
                f"{PKI} holds another CA: every bundle out there depends on it",
                f"To go on with that one: --pki {host.at(PKI)}. To give it up: move it away first.",
            )
        if not only_check:
            host.say(f"unchanged  {PKI}/")
    elif not only_check:
        host.directory(PKI)
        for name, data in sorted(pki.items()):
            host.put(PKI / name, data, 0o644 if name in _OTHERS_READ else 0o600)


def read_pki(directory: Path) -> dict[str, bytes]:
    """The plain files in a PKI directory: those that `pki init` made, and what was revoked since; no bundles."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.is_symlink() and path.suffix != ".tar" and path.stat().st_size <= _LARGEST
    }


def _check_calendar(expression: str) -> None:
    """Problem when systemd would not take it as a time."""
    if not expression.isprintable() or not expression.strip():
        raise Problem(f"--on-calendar {expression!r} is not a time", "Write it like hourly, daily, or Mon..Fri 06:00.")
    command = ["systemd-analyze", "calendar", "--", expression]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return  # a staging directory filled on a host without systemd
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["systemd does not accept it"])[0]
        raise Problem(f"--on-calendar '{expression}': {said}", "Write it like hourly, daily, or Mon..Fri 06:00.")
