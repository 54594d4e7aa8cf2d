"""The options that every command spells the same way: -f, -o, -q, -v, --no-color and how to reach a coordinator."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cli.errors import Problem
from wire.keyfiles import Exposed, check_key

Command = Callable[..., Any]
_LOOK = "segwatch.look"


class Paths(click.Path):
    """A path, of an option that takes several: in its variable they are separated by spaces, as all else is."""

    envvar_list_splitter = None  # type: ignore[assignment]


@dataclass(slots=True)
class Look:
    """How a command is to speak: set by -q, -v and --no-color."""

    quiet: bool = False
    verbose: int = 0
    color: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the running coordinator is: a Unix socket in `state_dir`, or a URL with its token and CA."""

    state_dir: Path | None
    url: str = ""
    token: str = ""
    ca: str | None = None  # PEM; None: what this host trusts

    def __bool__(self) -> bool:
        """Whether it names one at all."""
        return self.state_dir is not None or bool(self.url)


def duration(text: str) -> float:
    """The type of an option such as `10m`: seconds; a usage error for what is not a duration."""
    from coordinator.topology.scalars import parse_duration  # noqa: PLC0415 - most verbs read no YAML

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def look() -> Look:
    """What -q, -v and --no-color of the running command say. NO_COLOR (https://no-color.org) counts as --no-color."""
    context = click.get_current_context()
    found: Look = context.meta.setdefault(_LOOK, Look(color=not os.environ.get("NO_COLOR")))
    return found


def common(command: Command) -> Command:
    """Give a command -q, -v and --no-color; read them with `look()`."""

    def set_quiet(_: click.Context, __: click.Parameter, value: bool) -> None:
        look().quiet |= value

    def set_verbose(_: click.Context, __: click.Parameter, value: int) -> None:
        look().verbose += value

    def set_plain(_: click.Context, __: click.Parameter, value: bool) -> None:
        look().color &= not value

    def flag(*names: str, callback: Callable[..., None], text: str, **more: Any) -> Callable[[Command], Command]:
        return click.option(*names, callback=callback, expose_value=False, help=text, **more)

    for option in (
        flag("--no-color", is_flag=True, callback=set_plain, text="No colour (NO_COLOR does the same)."),
        flag("-v", "--verbose", count=True, callback=set_verbose, text="Say more; twice for debugging."),
        flag("-q", "--quiet", is_flag=True, callback=set_quiet, text="No progress on stderr."),
    ):
        command = option(command)
    return command


def topology(required: bool = True) -> Callable[[Command], Command]:
    """-f/--topology FILE, as the parameter `topology`: a Path (None where it is not required and absent)."""
    return click.option(
        "-f",
        "--topology",
        required=required,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The declared estate, such as topology.yaml; - is standard input.",
    )


def keys() -> Callable[[Command], Command]:
    """--dir DIR, as the parameter `directory`: where `segwatch pki` keeps keys and certificates."""
    return click.option(
        "--dir",
        "directory",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Where keys and certificates are.",
    )


def watched(command: Command) -> Command:
    """--watch, as the parameter `watch`."""
    return click.option("--watch", is_flag=True, help="Again whenever it has changed, until Ctrl-C.")(command)


def output(*formats: str) -> Callable[[Command], Command]:
    """-o/--output, as the parameter `output`; the first format is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="The format of what is printed.",
    )


def web(command: Command) -> Command:
    """--web and what its TLS needs, as the parameters `web`, `web_cert`, `web_key` and `web_name`."""
    for option in (
        click.option(
            "--web-name",
            multiple=True,
            metavar="NAME",
            help="A name that the API answers to, beside those of its certificate; may be repeated.",
        ),
        click.option("--web-key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's key, PEM."),
        click.option(
            "--web-cert",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="For TLS there: a certificate and those above it, PEM; a renewed one is taken without a restart.",
        ),
        click.option(
            "--web",
            metavar="ADDRESS:PORT",
            help="Serve the page for browsers, the API, /healthz and /metrics there too; off loopback with TLS alone.",
        ),
    ):
        command = option(command)
    return command


def coordinator(command: Command) -> Command:
    """--state-dir, or --coordinator with its token and CA, as the parameter `endpoint`: an `Endpoint`."""

    @click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="SEGWATCH_STATE_DIR",
        metavar="DIR",
        help="The coordinator's state directory, on this host.",
    )
    @click.option("--coordinator", "url", envvar="SEGWATCH_COORDINATOR", metavar="URL", help="Its API, from elsewhere.")
    @click.option(
        "--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="With the token for it."
    )
    @click.option(
        "--ca-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="SEGWATCH_CA_FILE",
        metavar="FILE",
        help="The CA of its certificate, such as pki/ca.pem; what this host trusts unless told otherwise.",
    )
    @click.option(
        "--token",
        envvar="SEGWATCH_TOKEN",
        metavar="TOKEN",
        help="Only as the variable SEGWATCH_TOKEN, or as a file: others on this host see arguments.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        state_dir: Path | None,
        url: str | None,
        token: str | None,
        token_file: Path | None,
        ca_file: Path | None,
        **more: Any,
    ) -> Any:
        if state_dir is not None and url:
            raise click.UsageError("--state-dir and --coordinator name two coordinators; give one of them")
        source = click.get_current_context().get_parameter_source
        if source("token") is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                "--token is not taken as an argument, which others on this host see: use --token-file FILE or the"
                " variable SEGWATCH_TOKEN. This one may have been seen: remove the file `token` from the coordinator's"
                " state directory and restart it"
            )
        held = _token(token_file) if token_file is not None else token or ""
        if not (held.isascii() and held.isprintable()):
            raise Problem("what is given as a token is none: it is not one line of plain characters", _WHERE_IT_IS)
        ca = _text(ca_file, "certificate", _ITS_CA) if ca_file is not None else None
        return command(*args, endpoint=Endpoint(state_dir, url or "", held, ca), **more)

    return wrapped


_WHERE_IT_IS = "The coordinator's is the file `token` in its state directory; copy it, with mode 0600."
_ITS_CA = "Where its certificate is the broker's own: ca.pem in its directory of keys; copy it."


def _token(path: Path) -> str:
    """The token in a file that is its owner's alone."""
    try:
        check_key(path)
    except Exposed as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", _WHERE_IT_IS) from error
    return _text(path, "token", _WHERE_IT_IS)


def _text(path: Path, what: str, remedy: str) -> str:
    """What is in a file, which is one thing and no more."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", remedy) from error
    except ValueError as error:
        raise Problem(f"{path} holds no {what}: it is not text", remedy) from error
    if not text:
        raise Problem(f"{path} holds no {what}: it is empty", remedy)
    return text
