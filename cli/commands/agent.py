"""`segwatch agent`: checks what it was given, then becomes the daemon."""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

import click

from agent.bundle import BundleError
from agent.config import AgentConfig, ConfigError, load
from cli.agent.file import parse_agent_yaml
from cli.agent.join import command as join
from cli.agent.setup import check_given, leave, read_bundled
from cli.errors import Problem
from cli.options import common, look
from wire.keyfiles import Exposed, check_key

LACKING = 1


@click.group(
    "agent",
    invoke_without_command=True,
    epilog="Example: segwatch agent --bundle dev-1.tar --state-dir /var/lib/segwatch",
)
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE", help="What `segwatch pki agent` made.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The same as YAML; paths beside it.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Its own; created if absent."
)
@click.option(
    "--user", metavar="NAME", help="Run as this user; started as root, it runs as segwatch where that exists."
)
@click.option(
    "--check", is_flag=True, help="Say what it holds and lacks, and end: 0 all there, 1 something is missing."
)
@click.option("--log", type=click.Choice(["json", "console"]), help="The form of its log; JSON unless on a terminal.")
@common
@click.pass_context
def command(
    context: click.Context,
    bundle: Path | None,
    config: Path | None,
    state_dir: Path | None,
    user: str | None,
    check: bool,
    log: str | None,
) -> int:
    """The daemon in an environment.

    It probes other environments for the coordinator, witnesses what arrives here, and listens on no port. The bundle
    or configuration is needed once: later starts find it in the state directory. `segwatch agent join` needs neither.
    """
    if context.invoked_subcommand is not None:
        return 0
    if bundle is not None and config is not None:
        raise Problem("--bundle and --config both say who it is; give one of them")
    directory = _prepare(bundle, config, state_dir)
    if check:
        return _check(load(directory), directory, user)
    arguments = [sys.executable, "-P", "-m", "agent", "--state-dir", str(directory)]
    arguments += ["--log", log] if log else []
    arguments += ["--user", user] if user else []
    arguments += ["--verbose"] if look().verbose else []
    sys.stdout.flush()
    # A process of its own: the idle daemon holds nothing of what a command line needs.
    os.execv(sys.executable, arguments)  # noqa: S606 - no shell is wanted
    return 0


command.add_command(join)


def _prepare(bundle: Path | None, config: Path | None, state_dir: Path | None) -> Path:
    """Leave a checked configuration in the state directory, and return that."""
    try:
        if bundle is not None:
            parsed, files = read_bundled(bundle)
            return _install(parsed, files, state_dir)
        if config is not None:
            parsed = parse_agent_yaml(_read(config), str(config))
            named = parsed.credentials
            paths = {"certificate": named.certificate, "key": named.key, "ca": named.ca}
            read = {kind: _read(config.parent / path) for kind, path in paths.items()}
            check_key(config.parent / named.key)
            check_given(parsed, read, str(config))
            return _install(parsed, {**read, "coordinator": _read(config.parent / named.coordinator)}, state_dir)
        if state_dir is None:
            raise Problem("no bundle or configuration: give --bundle FILE or --config FILE, with --state-dir DIR")
        load(state_dir)
    except (BundleError, ConfigError, Exposed) as error:
        raise Problem(str(error)) from error
    return state_dir


def _install(config: AgentConfig, files: dict[str, bytes], state_dir: Path | None) -> Path:
    directory = state_dir or (Path(config.state_dir) if config.state_dir else None)
    if directory is None:
        raise Problem("no state directory: give --state-dir DIR")
    return leave(config, files, directory)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2 * 1024 * 1024)
    except OSError as error:
        what = "--config names a file; its credentials are beside it, or where it says."
        raise Problem(f"{path} cannot be read: {error.strerror}", what) from error


def _check(config: AgentConfig, state_dir: Path, user: str | None) -> int:
    from cli.agent.check import examine  # noqa: PLC0415 - needs cryptography, which only this needs

    click.echo(f"segwatch agent {config.name} of {config.environment}")
    lacking = 0
    for line in examine(config, state_dir, user or config.user, dt.datetime.now(dt.UTC)):
        lacking += bool(line.lacks)
        click.echo(f"  {'LACKS' if line.lacks else 'holds'}  {line.what:<12} {line.holds or line.lacks[0]}".rstrip())
        for more in line.lacks if line.holds else line.lacks[1:]:
            click.echo(f"{'':21}{more}")
    click.echo("It holds all that it needs." if not lacking else f"It lacks {lacking} of what it needs.")
    return LACKING if lacking else 0
