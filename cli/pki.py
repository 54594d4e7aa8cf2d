"""`segwatch pki`: keys, certificates, and an agent's bundle: one file to copy to its host."""

from __future__ import annotations

import datetime as dt
import difflib
from pathlib import Path

import click

from cli.errors import Problem
from cli.loading import load
from cli.options import common, look, topology

_DIRECTORY = click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where keys and certificates are.",
)


@click.group("pki", epilog="Example: segwatch pki init --dir pki -f topology.yaml")
def command() -> None:
    """Keys, certificates, and an agent's bundle."""


@command.command("init", epilog="Example: segwatch pki init --dir pki -f topology.yaml")
@_DIRECTORY
@topology()
@common
def init(directory: Path, topology: Path) -> None:
    """Make the CA, the coordinator's certificate and its signing key.

    Nothing is overwritten: every bundle hangs on them.
    """
    from coordinator import pki  # noqa: PLC0415 - cryptography is slow to import

    loaded = load(topology)
    try:
        pki.init(directory, dt.datetime.now(dt.UTC))
    except pki.PkiError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}") from error
    if look().quiet:
        return
    agents = sorted(loaded.agents())
    click.echo(f"{directory} holds the CA, the coordinator's certificate and its signing key. Keep it to yourself.")
    if agents:
        click.echo(f"Next, for each of {', '.join(agents)}:", err=True)
        click.echo(
            f"  segwatch pki agent {agents[0]} --dir {directory} -f {topology} --broker mqtts://HOST:8883"
            f" --out {agents[0]}.tar",
            err=True,
        )


@command.command(
    "agent",
    epilog="Example: segwatch pki agent dev-1 --dir pki -f topology.yaml --broker mqtts://10.0.0.1:8883 "
    "--out dev-1.tar",
)
@click.argument("name")
@_DIRECTORY
@topology()
@click.option("--broker", required=True, metavar="mqtts://HOST:PORT", help="The broker, as the agent reaches it.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The tar.")
@common
def agent(name: str, directory: Path, topology: Path, broker: str, out: Path) -> None:
    """Make an agent's bundle: its certificate (90 days), key and configuration.

    The coordinator needs no restart for it. Whoever holds the file is that agent: copy it over a safe way.
    """
    from agent.bundle import write_private  # noqa: PLC0415 - as below
    from coordinator.bundle import make_bundle  # noqa: PLC0415 - cryptography is slow to import
    from coordinator.pki import PkiError  # noqa: PLC0415

    loaded = load(topology)
    agents = loaded.agents()
    if name not in agents:
        near = difflib.get_close_matches(name, agents, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it declares {', '.join(sorted(agents)) or 'none'}."
        raise Problem(f"{topology} declares no agent '{name}'; {hint}")
    try:
        bundle = make_bundle(loaded, name, broker=broker, directory=directory, now=dt.datetime.now(dt.UTC))
        write_private(out, bundle.tar)
    except (PkiError, ValueError) as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{out}: {error.strerror}") from error
    if not look().quiet:
        click.echo(
            f"{out}: {name} of {agents[name]}, until {bundle.expires:%Y-%m-%d}, may probe {len(bundle.allow)} networks."
        )
        click.echo(f"On its host: segwatch agent --bundle {out.name} --state-dir DIR", err=True)
