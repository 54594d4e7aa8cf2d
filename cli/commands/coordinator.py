"""`segwatch coordinator`: checks what it was given, then serves until it is told to end."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import structlog

from cli import options
from cli.errors import Problem
from cli.loading import certificate_life, load_file
from wire.process.console import cleaned

EMBEDDED = "embedded"
TAKEN = (
    "topology", "pki", "broker", "nats_server", "listen", "advertise", "web", "web_cert", "web_key", "web_name",
    "state_dir", "certificate_life",
)  # fmt: skip
KEYS = (*TAKEN, "store", "alerts")


@click.command(
    "coordinator",
    epilog="Example: segwatch coordinator -f topology.yaml --pki pki --listen 10.0.0.1:8883 --state-dir "
    "/var/lib/segwatch",
)
@options.topology(required=False)
@click.option(
    "--pki", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="From `segwatch pki init`."
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Where its broker listens for agents. With --broker: where it answers their controls itself (TCP and UDP).",
)
@click.option(
    "--broker",
    metavar="mqtts://HOST:PORT",
    help="One that you run, or 'embedded' (default). A cluster's nodes: mqtts://HOST:PORT,HOST:PORT,… `segwatch pki"
    " broker` writes its configuration.",
)
@click.option(
    "--advertise",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Where agents find it when that is not where it listens, as behind address translation or a published port; may be"
    " repeated. Its certificate, new bundles and controls use it.",
)
@click.option(
    "--nats-server",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The program of the embedded broker, instead of the one that was installed with this command.",
)
@options.web
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Its own; created if absent."
)
@click.option(
    "--certificate-life", metavar="TIME", help="The life of those that agents renew while it runs; 90d by default."
)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="The same as YAML; options override it."
)
@click.option("--log", "log_form", type=click.Choice(["json", "console"]), help="JSON unless on a terminal.")
@options.common
def command(config: Path | None, log_form: str | None, **given: Any) -> int:
    """The daemon in the middle: its broker or yours, rounds, store, findings, API.

    SIGHUP or a changed topology file is picked up without a restart; a broken one is refused and the old one stays.
    """
    from coordinator.api.guard.serving import check  # noqa: PLC0415 - cryptography and aiohttp are slow to import
    from coordinator.broker.addresses import Listen  # noqa: PLC0415
    from coordinator.broker.embedded import BrokerError, find_server  # noqa: PLC0415
    from coordinator.broker.pki import PkiError  # noqa: PLC0415
    from coordinator.service import serve  # noqa: PLC0415
    from coordinator.settings import Settings  # noqa: PLC0415
    from coordinator.store import StoreError  # noqa: PLC0415
    from coordinator.topology.load import TopologyErrors  # noqa: PLC0415
    from wire.dial import parse_url  # noqa: PLC0415
    from wire.keyfiles import Exposed  # noqa: PLC0415

    values = {
        **(_configuration(config) if config else {}),
        **{name: v for name, v in given.items() if v not in {None, ()}},
    }
    asked = (
        ("topology", "-f FILE"),
        ("pki", "--pki DIR"),
        ("listen", "--listen ADDRESS:PORT"),
        ("state_dir", "--state-dir DIR"),
    )
    missing = [option for name, option in asked if not values.get(name)]
    if missing:
        raise click.UsageError(f"the coordinator needs {', '.join(missing)}")
    topology = load_file(Path(values["topology"]))
    broker = str(values.get("broker") or EMBEDDED)
    try:
        if broker != EMBEDDED:
            parse_url(broker)
        listen = Listen.parse(str(values["listen"]))
        advertise = tuple(Listen.advertised(text, listen.port) for text in _several(values.get("advertise")))
        files = {name: Path(values[name]) for name in ("web_cert", "web_key", "nats_server") if values.get(name)}
        settings = Settings(
            topology=Path(values["topology"]),
            pki=Path(values["pki"]),
            listen=replace(listen, also=tuple(where.host for where in advertise)),
            advertise=advertise,
            state_dir=Path(values["state_dir"]),
            broker="" if broker == EMBEDDED else broker,
            web=Listen.parse(str(values["web"])) if values.get("web") else None,
            certificate_life=certificate_life(str(values.get("certificate_life") or "90d")),
            web_names=_several(values.get("web_name")),
            **files,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    open_log(
        as_json=(log_form or ("console" if sys.stderr.isatty() else "json")) == "json",
        verbose=bool(options.look().verbose),
    )
    try:
        check(settings)
        if settings.nats_server is not None:
            find_server(settings.nats_server)
        asyncio.run(serve(settings, topology))
    except* (BrokerError, Exposed, PkiError, StoreError, TopologyErrors) as group:
        raise Problem(str(_first(group))) from group
    except* OSError as group:
        cause = _first(group)
        assert isinstance(cause, OSError)
        where = f": {cause.filename}" if cause.filename else ""
        raise Problem(f"{cause.strerror or cause}{where}") from group
    return 0


def _several(said: Any) -> tuple[str, ...]:
    """What may be repeated: a file may hold one by itself."""
    return tuple(map(str, said)) if isinstance(said, list | tuple) else (str(said),) if said else ()


def open_log(*, as_json: bool, verbose: bool) -> None:
    """Log lines on stderr, an event each."""
    shown: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if not as_json:
        shown = [cleaned, structlog.dev.ConsoleRenderer(colors=False)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the round that a line belongs to
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if verbose else "info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _configuration(path: Path) -> dict[str, Any]:
    """A configuration file; relative paths in it start beside it."""
    import yaml  # noqa: PLC0415

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", "--config names a file of settings.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise Problem(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise Problem(f"{path}: a configuration is a mapping with keys of {', '.join(KEYS)}")
    unknown = [str(key) for key in data if key not in KEYS]
    if unknown:
        raise Problem(f"{path}: unknown key '{unknown[0]}'; the keys are {', '.join(KEYS)}")
    for key, scheme in (("store", "sqlite:///"),):
        if key in data and not str(data[key]).startswith(scheme):
            raise Problem(f"{path}: store '{data[key]}': this version stores in SQLite, in its state directory")
    for key in ("topology", "pki", "state_dir", "web_cert", "web_key", "nats_server"):
        if data.get(key):
            data[key] = path.parent / str(data[key])
    return {key: data[key] for key in TAKEN if key in data}


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
