"""`segwatch pki rotate-ca`: another CA in the place of the one that there is, while everybody goes on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from cli.errors import Problem
from cli.loading import environment_of, load
from cli.options import common, keys, look, topology
from reachability.topology import Topology


@click.command("rotate-ca", epilog="Example: segwatch pki rotate-ca --dir pki -f topology.yaml")
@keys()
@topology()
@click.option("--finish", is_flag=True, help="Give up the old CA, now that all agents have come over.")
@click.option(
    "--even-if", multiple=True, metavar="NAME", help="With --finish: though this agent has not; may be repeated."
)
@common
def command(directory: Path, topology: Path, even_if: tuple[str, ...], *, finish: bool) -> None:
    """Make a new CA: before the old one ends, or when its key may be in other hands. Then --finish gives the old one up.

    In between both are trusted: agents get the new one with their next certificate, which those that run ask for within
    minutes, and bundles and tokens of before are still good. The coordinator needs no restart.
    """
    from coordinator.broker import rotation  # noqa: PLC0415 - cryptography is slow to import
    from coordinator.broker.pki import PkiError  # noqa: PLC0415

    loaded = load(topology)
    if even_if and not finish:
        raise Problem("--even-if is for --finish: nobody is given up before")
    for name in even_if:
        environment_of(name, loaded, topology)
    try:
        if finish:
            held = rotation.finish(directory, loaded.agents(), even_if)
        else:
            held = rotation.begin(directory, dt.datetime.now(dt.UTC))
    except PkiError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{error.filename or directory}: {error.strerror}") from error
    if look().quiet:
        return
    if finish:
        click.echo(f"{directory} holds one CA from now on, {rotation.names(held)}. What is of the old one is refused.")
        _own_broker()
        for name in even_if:
            click.echo(
                f"If {name} is shut out: segwatch pki agent {name} … or segwatch pki join-token {name} …", err=True
            )
        return
    click.echo(f"{directory} holds two CAs from now on: {rotation.names(held)}. Both are trusted, the first one signs.")
    _own_broker()
    _next(directory, topology, loaded)


def _own_broker() -> None:
    click.echo("A broker of your own has to be told at once, before the coordinator: segwatch pki broker …", err=True)


def _next(directory: Path, topology: Path, loaded: Topology) -> None:
    click.echo(
        f"Agents that run come over within minutes of a running coordinator's hearing of it: segwatch agents shows which of the"
        f" {len(loaded.agents())} have not. Then: segwatch pki rotate-ca --finish --dir {directory} -f {topology}",
        err=True,
    )
