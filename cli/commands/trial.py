"""`segwatch try`: is this port really closed? Two machines, one line to copy, no coordinator and no certificates."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.errors import Problem
from cli.show.render import paint, show

if TYPE_CHECKING:  # for `--help` all this is too slow
    from cli.trial.child import Voice
    from wire.trial import Asked, Line

MEET = 8884
CANARIES = (49152, 65535)
Body = dict[str, Any]


@click.command("try", epilog="Example: segwatch try --to 10.30.0.10:22,8000,udp/53,icmp")
@click.argument("line", required=False)
@click.option(
    "--to",
    multiple=True,
    metavar="HOST:PORT,...",
    help="On the destination: addresses of this host and their ports (22, tcp/80-90, udp/53, icmp).",
)
@click.option(
    "--meet",
    metavar="PORT | HOST:PORT",
    help=f"Where reports meet: on the destination a PORT to listen on ({MEET}), on the source another way to it.",
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="HOST:PORT",
    help="Something else that answers: on the source beyond its gateway, on the destination in its own network.",
)
@options.output("table", "json")
@options.common
def command(line: str | None, to: tuple[str, ...], meet: str | None, controls: tuple[str, ...], output: str) -> int:
    """Is this port really closed? Takes two machines, no coordinator and no certificates.

    On the destination give --to: it listens, and prints the command for the source, with a LINE that holds a key (- reads
    it from stdin). Where their reports cannot meet over the network, each side prints one line to paste at the other.

    Exit code 0: all is shown to be closed, 1: something crossed, 3: something is unproven.
    """
    if bool(line) is bool(to):
        raise click.UsageError("give --to HOST:PORT,... on the destination, or on the source the LINE that it printed")
    from cli.trial.show import exit_code, report  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the packet child ends in good order
    body = _destination(to, meet, controls) if to else _source(line or "", meet, controls)
    if output == "json":
        click.echo(json.dumps(body, indent=2))
    else:
        show(report(body, paint()))
    return exit_code(body)


def _destination(to: tuple[str, ...], meet: str | None, controls: tuple[str, ...]) -> Body:
    from agent.identity import own_addresses  # noqa: PLC0415
    from cli.trial.asked import asked_of, place, port_of, resolve, words  # noqa: PLC0415
    from cli.trial.destination import Destination  # noqa: PLC0415
    from cli.trial.show import listening, summary  # noqa: PLC0415

    port = port_of(meet, what="--meet") if meet else MEET
    asked = asked_of(to, own_addresses(), port)
    helper = ("", 0)
    for control in controls[:1]:  # one that answers is enough here
        host, number = place(control, what="--control")
        helper = (resolve(host)[0], number)

    def armed(line: Line, problems: tuple[str, ...]) -> None:
        _say("\n".join(listening(words(asked), problems, line.meet, paint())))
        click.echo(f"\nsegwatch try {line.text()}\n", err=True)
        _say("It waits here. If the source prints a line, paste it; Enter alone ends without the source's report.")

    return summary(asyncio.run(Destination(_line(asked, port), _voice(), helper).run(armed)))


def _source(text: str, meet: str | None, controls: tuple[str, ...]) -> Body:
    from cli.trial.asked import place, words  # noqa: PLC0415
    from cli.trial.show import summary  # noqa: PLC0415
    from cli.trial.source import Source, outside  # noqa: PLC0415
    from wire.envelope import BadMessage  # noqa: PLC0415
    from wire.trial import read_line  # noqa: PLC0415

    voice = _voice()
    further = tuple(c for control in controls for c in outside(*place(control, what="--control")))
    nearer = (place(meet, what="--meet"),) if meet else ()

    async def run() -> Body:
        given = (await voice.pasted.next() or "") if text == "-" else text
        try:
            line = read_line(given)
        except BadMessage as error:
            raise Problem(f"this is not the line that `segwatch try --to` prints: {error}") from error
        _say(f"sending to {', '.join(words(line.asked))}")
        places = nearer or tuple((asked.address, line.meet) for asked in line.asked)
        return summary(await Source(line, voice, further, places).run())

    return asyncio.run(run())


def _line(asked: tuple[Asked, ...], meet: int) -> Line:
    from probes.host.listening import read_bound  # noqa: PLC0415
    from wire.trial import KEY, VERSION, Line  # noqa: PLC0415

    bound = read_bound()
    taken = {port for _, port in bound.tcp} | {meet}
    canary = next(
        port
        for port in iter(lambda: random.randint(*CANARIES), 0)  # noqa: S311 - new each time, not secret
        if port not in taken
    )
    return Line(VERSION, secrets.token_hex(4), secrets.token_bytes(KEY), meet, canary, asked)


def _voice() -> Voice:
    from cli.trial.child import Voice  # noqa: PLC0415
    from cli.trial.meeting import Pasted  # noqa: PLC0415

    def hand(what: str, text: str) -> None:
        click.echo(f"\n{what}:\n\n{text}\n", err=True)  # -q does not silence what a person has to carry

    return Voice(_say, hand, Pasted())


def _say(text: str) -> None:
    if not options.look().quiet:
        click.echo(text, err=True)
