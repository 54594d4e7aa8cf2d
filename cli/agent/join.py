"""`segwatch agent join`: enrols this host with a one-time token, and leaves what an agent starts from."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from agent.config import ConfigError, owner
from agent.lock import held
from cli.agent.file import parse_agent_yaml
from cli.agent.setup import check_given, check_owner, leave
from cli.errors import Problem
from cli.options import common, look
from wire import joining
from wire.dial import PORT, parse_url
from wire.keyfiles import Exposed, check_directory, check_key


@click.command(
    "join",
    epilog="Example: segwatch agent join --token-file - --coordinator 10.0.0.1:8883 --state-dir /var/lib/segwatch",
)
@click.option(
    "--token-file",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
    metavar="FILE",
    help="What `segwatch pki join-token` printed, readable by you alone; - for standard input.",
)
@click.option(
    "--coordinator",
    default="",
    metavar="HOST[:PORT]",
    help="The coordinator's broker as this host reaches it; by default where the token says that it is.",
)
@click.option(
    "--state-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Its own; created if absent.",
)
@click.option(
    "--again", is_flag=True, help="Enrol the agent anew whose state directory it is; what it has spooled stays."
)
@common
def command(token_file: Path, coordinator: str, state_dir: Path, *, again: bool) -> None:
    """Enrol this host: it makes its key, which never leaves it, and a one-time token gets it a certificate.

    It needs the broker's TCP port and nothing else. Whoever was this agent before is cut off.
    """
    from agent.joining import KEY, JoinError, join  # noqa: PLC0415 - cryptography is slow to import

    try:
        token = joining.read_token(_read(token_file))
    except joining.BadJoin as error:
        raise Problem(f"{token_file}: {error}") from error
    url = _url(coordinator or token.broker)
    _check_place(state_dir, token.agent, again=again)
    try:
        joined = join(token, url, state_dir)
    except JoinError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{error.filename or state_dir}: {error.strerror or error}") from error
    config = parse_agent_yaml(joined.configuration, "the configuration that the coordinator sent")
    if (config.name, config.environment) != (token.agent, token.environment):
        raise Problem(f"the coordinator sent the configuration of {config.name}, and the token is for {token.agent}")
    config = msgspec.structs.replace(config, broker=url, allow=tuple(dict.fromkeys((*config.allow, joined.peer))))
    files = {"certificate": joined.certificate, "key": joined.key, "ca": joined.ca}
    files["coordinator"] = token.coordinator.hex().encode() + b"\n"
    check_given(config, files, "what the coordinator sent")
    leave(config, files, state_dir)
    (state_dir / KEY).unlink(missing_ok=True)
    if not look().quiet:
        click.echo(
            f"{state_dir}: {config.name} of {config.environment} is enrolled; its key was made here and stays here."
        )
        click.echo(f"Start it: segwatch agent --state-dir {state_dir}", err=True)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read(joining.MOST_TOKEN)
        check_key(file)
        with file.open(encoding="ascii", errors="replace") as opened:
            return opened.read(joining.MOST_TOKEN)
    except Exposed as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from error


def _url(said: str) -> str:
    if not said:
        raise Problem(
            f"the token does not say where the coordinator is: give --coordinator HOST:PORT (its broker's, {PORT})"
        )
    url = said if "://" in said else f"mqtts://{said}"
    try:
        parse_url(url)
    except ValueError as error:
        raise Problem(f"--coordinator: {error}") from error
    return url


def _check_place(directory: Path, name: str, *, again: bool) -> None:
    """Problem for a state directory that cannot take the agent, before the token is used."""
    check_owner(name, directory)
    if owner(directory) and not again:
        raise Problem(
            f"{directory} already holds agent {name}: it renews its certificate itself",
            "To enrol it anew, as after a revocation: --again. What it has spooled stays.",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_directory(directory)
        with held(directory):
            pass
    except (ConfigError, Exposed) as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror or error}") from error
