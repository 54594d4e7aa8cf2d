"""`segwatch install` and `segwatch uninstall`."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import click

from cli import options
from cli import program as own
from cli.errors import Problem
from cli.install import roles, units
from cli.install.host import Host, check_may, check_systemd

_CLOSED = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - ProtectHome= and PrivateTmp= hide them

_PROGRAM = re.compile(r"(/[\w.+@=,~-]+)+", re.ASCII)


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """--root and --dry-run, as the parameter `host`."""

    @click.option(
        "--root", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="A staging directory."
    )
    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @options.common
    @functools.wraps(command)
    def wrapped(*args: Any, root: Path | None, dry_run: bool, **more: Any) -> None:
        say: Callable[[str], None] = click.echo if not options.look().quiet else lambda _: None
        host = Host(root, dry_run, say)
        check_may(host)
        with _in_words():
            command(*args, host=host, **more)

    return wrapped


def _programmed(command: Callable[..., None]) -> Callable[..., None]:
    """--program, as the parameter `program`: an absolute path that a unit can start."""

    @click.option(
        "--program", metavar="PATH", help="The `segwatch` that the unit starts; this one unless told otherwise."
    )
    @functools.wraps(command)
    def wrapped(*args: Any, program: str | None, host: Host, **more: Any) -> None:
        check_systemd(host)
        command(*args, program=_program(program, host), host=host, **more)

    return wrapped


@click.group("install", epilog="Example: segwatch install agent --bundle dev-1.tar")
def install() -> None:
    """Put systemd units in place, with their user and state directory.

    What is already as it should be is left alone, so it can be run again. Nothing is started.
    """


@install.command("agent", epilog="Example: segwatch install agent --bundle dev-1.tar --dry-run")
@click.option(
    "--bundle", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What `segwatch pki agent` made."
)
@_placed
@_programmed
def agent(bundle: Path, program: str, host: Host) -> None:
    """The agent's unit, the user segwatch, and its state with what the bundle brings."""
    roles.install_agent(host, program, bundle)
    _next(host, "agent", f"segwatch agent --check --state-dir {units.STATE}/agent")


@install.command(
    "coordinator", epilog="Example: segwatch install coordinator -f topology.yaml --pki pki --listen 10.0.0.1:8883"
)
@options.topology()
@click.option(
    "--pki",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="From `segwatch pki init`; it is copied.",
)
@click.option("--listen", required=True, metavar="ADDRESS:PORT", help="Where its broker listens for agents.")
@click.option(
    "--advertise",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Where agents find it when that is not where it listens; may be repeated.",
)
@options.web
@click.option("--broker", metavar="mqtts://HOST:PORT", help="One that you run; its own unless told otherwise.")
@_placed
@_programmed
def coordinator(
    topology: Path,
    pki: Path,
    listen: str,
    advertise: tuple[str, ...],
    web: str | None,
    web_cert: Path | None,
    web_key: Path | None,
    web_name: tuple[str, ...],
    broker: str | None,
    program: str,
    host: Host,
) -> None:
    """The coordinator's unit, the user segwatch-coordinator, and /etc/segwatch with topology, keys and settings."""
    from cli.loading import load_file  # noqa: PLC0415 - cryptography is slow to import
    from coordinator.api.guard.serving import check as check_web  # noqa: PLC0415
    from coordinator.api.guard.tls import CannotServeError  # noqa: PLC0415
    from coordinator.broker.addresses import Listen  # noqa: PLC0415
    from coordinator.broker.pki import PkiError, check  # noqa: PLC0415
    from coordinator.settings import Settings  # noqa: PLC0415
    from wire.dial import parse_url  # noqa: PLC0415
    from wire.keyfiles import Exposed  # noqa: PLC0415

    load_file(topology)
    try:
        check(pki)
        places = [Listen.parse(text) for text in (listen, web) if text]
        ports = [place.port for place in places]
        settings = Settings(
            topology=topology, pki=pki, listen=places[0], state_dir=Path(units.STATE), broker=broker or "",
            web=places[1] if web else None, web_cert=web_cert, web_key=web_key,
        )  # fmt: skip
        check_web(settings)
        found_at = [str(Listen.advertised(text, ports[0])) for text in advertise]
        if broker:
            parse_url(broker)
    except (CannotServeError, Exposed, PkiError) as error:
        raise Problem(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    given: dict[str, str | list[str] | None] = {
        "listen": listen,
        "advertise": found_at,
        "web": web,
        **{name: _kept(file, pki) for name, file in (("web_cert", web_cert), ("web_key", web_key))},
        "web_name": list(web_name),
        "broker": broker,
    }
    roles.install_coordinator(
        host,
        program,
        topology=topology.read_bytes(),
        pki=roles.read_pki(pki),
        settings={key: value for key, value in given.items() if value},
        low_ports=min(ports) < units.FIRST_FREE_PORT,
    )
    as_user = f"runuser -u {units.COORDINATOR_USER} -- segwatch"
    _next(host, "coordinator", f"{as_user} pki agent NAME --dir {roles.PKI} -f {units.CONFIGURATION}/topology.yaml …")


def _kept(file: Path | None, pki: Path) -> str | None:
    """A file as /etc/segwatch/coordinator.yaml names it: by itself, or in the directory of keys that was copied there."""
    if file is None:
        return None
    own = file.absolute().is_relative_to(pki.absolute())
    return str(PurePosixPath("pki") / file.absolute().relative_to(pki.absolute()) if own else file.absolute())


@install.command("verify-timer", epilog="Example: segwatch install verify-timer --on-calendar 'Mon..Fri 06:00'")
@click.option(
    "--on-calendar", default="hourly", show_default=True, metavar="TIME", help="When, as systemd.time(7) writes it."
)
@_placed
@_programmed
def verify_timer(on_calendar: str, program: str, host: Host) -> None:
    """The periodic test of the coordinator on this host: service, timer, and the directory of its newest result."""
    roles.install_verify(host, program, on_calendar)
    _next(host, "verify-timer", f"journalctl -u {units.VERIFY} -p err")


@click.command("uninstall", epilog="Example: segwatch uninstall agent --dry-run")
@click.argument("role", type=click.Choice(list(roles.ROLES)))
@click.option("--keep-state", is_flag=True, help="Leave the state directory and its user.")
@_placed
def uninstall(role: str, keep_state: bool, host: Host) -> None:
    """Stop a unit, and take it away with its state directory and user.

    Of the coordinator, topology and keys below /etc/segwatch stay: every agent's bundle depends on them.
    """
    roles.uninstall(host, role, keep_state=keep_state)


def _next(host: Host, name: str, look: str) -> None:
    if host.dry_run:
        host.say("Nothing was done: --dry-run.")
        return
    unit = roles.ROLES[name].units[0]
    host.say(f"Start it: systemctl enable {'--now ' if host.is_live else f'--root {host.root} '}{unit}")
    host.say(f"Then: {look}")


def _program(given: str | None, host: Host) -> str:
    """Problem for a program that the unit's user could not start."""
    program = given or own.path()
    if _PROGRAM.fullmatch(program) is None:
        raise Problem(
            f"--program {program!r} is not an absolute path of plain characters", "A unit can start nothing else."
        )
    there, is_one_file = host.at(PurePosixPath(program)), program == own.one_file()
    seen = [program] if host.root is not None else [program, str(there.resolve())]
    if host.root is None and not is_one_file:
        seen.append(str(there.with_name("python").resolve()))  # of the same venv, often a link to another place
    for path in seen:
        if closed := next((top for top in _CLOSED if PurePosixPath(path).is_relative_to(top)), None):
            place = f"install {program} /usr/local/bin/" if is_one_file else "python3 -m venv /opt/segwatch"
            raise Problem(
                f"{path} is below {closed}, which is hidden from the unit",
                f"Put segwatch elsewhere: {place}, or name another: --program PATH",
            )
    if host.root is None and not os.access(there, os.X_OK):
        raise Problem(f"there is no program {program}", "Name the one that the unit is to start: --program PATH")
    return program


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads what is said has read enough: cli.main's business
        raise
    except OSError as error:
        raise Problem(f"{error.filename or 'this host'}: {error.strerror or error}") from error
