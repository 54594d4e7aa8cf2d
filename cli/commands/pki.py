"""`segwatch pki`: keys, certificates, an agent's bundle (one file to copy to its host), and what becomes of a stolen one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path, PurePosixPath

import click

from cli.commands.rotate_ca import command as rotate_ca
from cli.errors import Problem
from cli.loading import certificate_life, environment_of, load
from cli.options import Command, common, duration, keys, look, topology

MINUTE_S, WEEK_S = 60.0, 7 * 86400.0


@click.group("pki", epilog="Example: segwatch pki init --dir pki -f topology.yaml")
def command() -> None:
    """Keys, certificates, and an agent's bundle."""


@command.command("init", epilog="Example: segwatch pki init --dir pki -f topology.yaml")
@keys()
@topology()
@common
def init(directory: Path, topology: Path) -> None:
    """Make the CA, the coordinator's certificate and its signing key.

    Nothing is overwritten: every bundle depends on them.
    """
    from coordinator.broker import pki  # noqa: PLC0415 - cryptography is slow to import

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


_BROKER = click.option(
    "--broker",
    default="",
    metavar="mqtts://HOST:PORT",
    help="The broker, as the agent reaches it; by default where the coordinator that ran last on DIR is found.",
)
_COORDINATOR = click.option(
    "--coordinator",
    default="",
    metavar="HOST",
    help="Where agents' controls reach the coordinator, when that is not the broker's host: its --listen address.",
)
_OUT = click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The tar."
)
_LIFE = click.option("--life", default="90d", show_default=True, metavar="TIME", help="How long its certificate lasts.")


def _of_a_bundle(command: Command) -> Command:
    """What is asked for a bundle, new or again."""
    asked = (click.argument("name"), keys(), topology(), _BROKER, _COORDINATOR, _OUT, _LIFE, common)
    for option in reversed(asked):
        command = option(command)
    return command


@command.command(
    "agent",
    epilog="Example: segwatch pki agent dev-1 --dir pki -f topology.yaml --broker mqtts://10.0.0.1:8883 "
    "--out dev-1.tar",
)
@_of_a_bundle
def agent(name: str, directory: Path, topology: Path, broker: str, coordinator: str, out: Path, life: str) -> None:
    """Make an agent's bundle: its certificate, key and configuration.

    For a host that cannot enrol itself (segwatch pki join-token): whoever holds the file, its key in it, is that agent. The
    coordinator needs no restart. A bundle that was made before for the name is refused from now on, as its agent is.
    """
    _bundle(name, directory, topology, broker, coordinator, out, life, anew=True)


@command.command("join-token", epilog="Example: segwatch pki join-token dev-1 --for 1h --dir pki -f topology.yaml")
@click.argument("name")
@click.option(
    "--for", "lasts", type=duration, default="1h", show_default=True, metavar="TIME", help="How long it is good."
)
@keys()
@topology()
@common
def join_token(name: str, lasts: float, directory: Path, topology: Path) -> None:
    """Print a one-time token, with which an agent's host makes its own key and gets a certificate.

    It is good once, for this name; a new one makes the last one void. Bring it to the host's standard input or to a file
    there, not to a command line. A coordinator with the embedded broker has to run on DIR.
    """
    from coordinator.broker import join_tokens, pki  # noqa: PLC0415 - cryptography is slow to import

    if not MINUTE_S <= lasts <= WEEK_S:
        raise Problem("--for: a token is good for a minute at least, and seven days at most")
    environment = environment_of(name, load(topology), topology)
    try:
        token = join_tokens.make(directory, environment, name, dt.datetime.now(dt.UTC), dt.timedelta(seconds=lasts))
    except pki.PkiError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{error.filename or directory}: {error.strerror}") from error
    click.echo(token)
    if not look().quiet:
        click.echo(f"For {name} of {environment}, once. On its host, with that line on standard input:", err=True)
        found = _found_at(directory)
        click.echo(f"  segwatch agent join --token-file - --coordinator {found} --state-dir DIR", err=True)


@command.command(
    "renew",
    epilog="Example: segwatch pki renew dev-1 --dir pki -f topology.yaml --broker mqtts://10.0.0.1:8883 "
    "--out dev-1.tar",
)
@_of_a_bundle
def renew(name: str, directory: Path, topology: Path, broker: str, coordinator: str, out: Path, life: str) -> None:
    """Make a new bundle for an agent that was away too long to renew its certificate itself.

    The old one is good until it ends, unless `segwatch pki revoke` is run first.
    """
    _bundle(name, directory, topology, broker, coordinator, out, life)


@command.command("revoke", epilog="Example: segwatch pki revoke dev-1 --dir pki -f topology.yaml")
@click.argument("name")
@keys()
@topology()
@common
def revoke(name: str, directory: Path, topology: Path) -> None:
    """Refuse every certificate that an agent has, as when its bundle was stolen.

    A coordinator that runs on this directory cuts its connections within a second; another does it at its next start.
    A broker of your own has to be told: segwatch pki broker. A bundle that is made afterwards is let in.
    """
    from coordinator.broker import pki  # noqa: PLC0415 - cryptography is slow to import

    environment = environment_of(name, load(topology), topology)
    try:
        pki.revoke(directory, name, dt.datetime.now(dt.UTC))
    except pki.PkiError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}") from error
    if not look().quiet:
        click.echo(f"{name} of {environment}: every certificate that it has so far is refused from now on.")
        click.echo("A coordinator that runs on this directory cuts its connections within a second.", err=True)
        click.echo("A broker of your own does when its configuration is written anew: segwatch pki broker …", err=True)
        click.echo(
            f"To let it in again: segwatch pki agent {name} --dir {directory} -f {topology}"
            f" --broker mqtts://{_found_at(directory)} --out {name}.tar",
            err=True,
        )


@command.command(
    "broker",
    epilog="Example: segwatch pki broker --kind mosquitto --dir pki -f topology.yaml --listen 10.0.0.5:8883 "
    "--out broker --at /etc/mosquitto/segwatch",
)
@click.option("--kind", required=True, type=click.Choice(["mosquitto", "rabbitmq", "nats"]), help="Which broker.")
@keys()
@topology()
@click.option("--listen", required=True, metavar="ADDRESS:PORT", help="Where the broker listens.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Created if absent."
)
@click.option(
    "--at", type=click.Path(path_type=PurePosixPath), metavar="PATH", help="Where DIR is on the broker's host."
)
@common
def broker(kind: str, directory: Path, topology: Path, listen: str, out: Path, at: PurePosixPath | None) -> None:
    """Write the configuration of a broker that you run: its certificate, a user for each agent, and what each may do.

    Once for each node of a cluster. Again after agents came or went or were revoked, and before the certificate ends
    (90 days).
    """
    from coordinator.broker.addresses import Listen  # noqa: PLC0415 - cryptography is slow to import
    from coordinator.broker.configurations import Kind, Place  # noqa: PLC0415
    from coordinator.broker.configurations import write as write_broker  # noqa: PLC0415
    from coordinator.broker.pki import PkiError  # noqa: PLC0415

    loaded = load(topology)
    try:
        where = Listen.parse(listen)
        place = Place(where.host, where.port, at or PurePosixPath(out.absolute()))
        made = write_broker(Kind(kind), loaded, place, directory, out, dt.datetime.now(dt.UTC))
    except (PkiError, ValueError) as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{error.filename or out}: {error.strerror}") from error
    if look().quiet:
        return
    click.echo(f"{out}: {kind} for the coordinator and {len(loaded.agents())} agents, until {made.expires:%Y-%m-%d}.")
    click.echo(
        f"On its host, as the broker's user, with broker.key readable by that user alone: {made.start}", err=True
    )
    click.echo(
        f"Then: segwatch coordinator --broker mqtts://HOST:{where.port} … and pki agent NAME --broker mqtts://HOST:"
        f"{where.port} --coordinator ADDRESS …",
        err=True,
    )


def _bundle(
    name: str,
    directory: Path,
    topology: Path,
    broker: str,
    coordinator: str,
    out: Path,
    life: str,
    *,
    anew: bool = False,
) -> None:
    from coordinator.broker import enrolment  # noqa: PLC0415
    from coordinator.broker.bundle import make_bundle  # noqa: PLC0415 - cryptography is slow to import
    from coordinator.broker.pki import PkiError  # noqa: PLC0415
    from wire.keyfiles import write_private  # noqa: PLC0415

    loaded = load(topology)
    environment = environment_of(name, loaded, topology)
    try:
        with enrolment.alone(directory):
            now = dt.datetime.now(dt.UTC)
            generation = enrolment.generation_for(directory, name, now) if anew else None
            bundle = make_bundle(
                loaded,
                name,
                broker=broker,
                coordinator=coordinator,
                directory=directory,
                now=now,
                life=certificate_life(life),
                generation=generation,
            )
            write_private(out, bundle.tar)
            ended = generation is not None and enrolment.stands(directory, name, generation, now)
    except (PkiError, ValueError) as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{out}: {error.strerror}") from error
    if not look().quiet:
        click.echo(
            f"{out}: {name} of {environment}, until {bundle.expires:%Y-%m-%d}, may probe {len(bundle.allow)} networks."
        )
        if ended:
            click.echo(
                f"{name} was enrolled before: what it had is refused from now on, its connection is cut.", err=True
            )
            click.echo("A broker of your own has to be told: segwatch pki broker …", err=True)
        for host in bundle.unresolved:
            click.echo(
                f"{host} does not resolve here, so that its address is not in the agent's allow-list: the agent sends "
                "source controls to where it is connected alone.",
                err=True,
            )
        click.echo("Its key is in it. Where the host can run segwatch, rather: segwatch pki join-token", err=True)
        click.echo(f"On its host: segwatch agent --bundle {out.name} --state-dir DIR", err=True)


def _found_at(directory: Path) -> str:
    from coordinator.broker.addresses import Whereabouts  # noqa: PLC0415 - psutil, which an agent's host need not have

    return Whereabouts.of(directory).place or "HOST:8883"


command.add_command(rotate_ca)
