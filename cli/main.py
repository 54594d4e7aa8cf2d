"""`segwatch`: one lazy table of verbs. Nothing of a verb is imported before it is called, `--help` included."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from cli import repeated, variables
from cli.errors import USAGE, Problem

_STDERR = 2
_IS_VERBOSE = "segwatch.version.verbose"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
INTERRUPTED = 130  # 128 + SIGINT, as shells give it
READER_GONE = 141  # 128 + SIGPIPE, as of any command whose reader has gone: neither a pass nor a failing path

# verb -> (module:attribute of its click command, its line in `segwatch --help`)
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("cli.commands.demo:command", "See it work: a sealed estate, a planted leak, the finding."),
    "topology": ("cli.commands.topology:command", "Check a topology file; explain which line decides a path."),
    "plan": ("cli.commands.plan:command", "What would be probed, by whom, for how long; sends nothing."),
    "try": ("cli.commands.trial:command", "Is this port really closed? Two machines, one line to copy."),
    "probe": ("cli.commands.probe:command", "One probe, once, with its evidence."),
    "pki": ("cli.commands.pki:command", "Keys, certificates, and an agent's bundle."),
    "coordinator": ("cli.commands.coordinator:command", "The daemon in the middle."),
    "agent": ("cli.commands.agent:command", "The daemon in an environment."),
    "verify": ("cli.commands.verify:command", "One cycle now, and an exit code: the staging test."),
    "stop": ("cli.commands.stop:command", "End all probing within a second, until `resume`."),
    "resume": ("cli.commands.resume:command", "Probe again after a stop."),
    "agents": ("cli.commands.agents:command", "Who is there, and who has confirmed a stop."),
    "dashboard": ("cli.commands.dashboard:command", "The live view of a running coordinator."),
    "matrix": ("cli.commands.matrix:command", "Which environment reaches which, cell by cell if asked."),
    "findings": ("cli.commands.findings:command", "What a person must look at; `findings ack` and `export`."),
    "explain": ("cli.commands.explain:command", "Why this verdict, and what would settle it."),
    "coverage": ("cli.commands.coverage:command", "How much of what must be proven is proven."),
    "report": ("cli.commands.report:command", "A report to hand over: a page, Markdown, CSV or JSON."),
    "history": ("cli.commands.history:command", "What changed, and when."),
    "install": ("cli.commands.install:install", "systemd units for agent, coordinator and the periodic test."),
    "uninstall": ("cli.commands.install:uninstall", "Take a unit away, with its state and user."),
    "completion": ("cli.commands.completion:command", "What bash, zsh or fish needs to complete verbs and options."),
    "store": ("cli.commands.store:command", "Check, back up and restore what the coordinator keeps."),
    "support-bundle": ("cli.commands.support:command", "One archive for a bug report, without keys and tokens."),
}


class _ReaderGone(Exception):  # noqa: N818 - it is no error
    """Nobody reads the output any more."""


@contextlib.contextmanager
def _until_the_reader_goes() -> Iterator[None]:
    """Click itself would end with 1, which says that a path fails."""
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error


class Verbs(click.Group):
    """The group behind `segwatch`: finds verbs in the table, and prints every error in one way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table: the order in which they are met."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        del ctx
        if name not in VERBS:
            return None
        module, attribute = VERBS[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        variables.name_all(name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or name the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "`segwatch --help` lists the verbs."
            raise Problem(f"no verb '{args[0]}'; {hint}")
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None and not ctx.resilient_parsing:
            for line in variables.strangers(name, command):
                click.echo(line, err=True)
            if not {"-h", "--help"} & set(rest):
                repeated.refuse(command, rest, click.Context(command, parent=ctx, info_name=name))
        return name, command, rest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note what stands beside --version, on either side."""
        ctx.meta[_IS_VERBOSE] = bool(
            {"-v", "--verbose"} & set(itertools.takewhile(lambda word: str(word).startswith("-"), args))
        )
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, without importing them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse, and print what --help asks for."""
        with _until_the_reader_goes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        with _until_the_reader_goes():
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a verb and exit: an int that it returns is the exit code, errors go to stderr as one message."""
        extra.pop("standalone_mode", None)
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, prog_name or "segwatch", standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "segwatch"
            text = error.format_message()
            click.echo(f"{path}: {text[:1].lower()}{text[1:]}", err=True)
            if error.ctx is not None and (taken := variables.taken(error.ctx)):
                click.echo(f"  From the environment: {', '.join(taken)}", err=True)
            click.echo(f"  See: {path} --help", err=True)
            code = USAGE
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except ModuleNotFoundError as error:
            parts = importlib.import_module("cli.parts")  # importlib.metadata is slow to import
            problem: Problem | None = parts.lacking(error)
            if problem is None:
                raise
            problem.verb = " ".join(["segwatch", *given[:1]])
            problem.show()
            code = problem.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except (BrokenPipeError, _ReaderGone):
            # `segwatch matrix | head`: whoever read has read enough. Python must not complain again at exit.
            _forget_stdout()
            code = READER_GONE
        except OSError as error:
            # Of a file that was named, a verb says it itself.
            if error.filename is not None or error.errno not in _FULL:
                raise
            _forget_stdout()
            click.echo(f"segwatch: what it says cannot be written: {error.strerror}", err=True)
            code = USAGE
        sys.exit(code if isinstance(code, int) else 0)


def _forget_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        metadata = importlib.import_module("importlib.metadata")
        click.echo(f"segwatch {metadata.version('segwatch')}")
        if ctx.meta[_IS_VERBOSE]:
            for line in importlib.import_module("cli.versions").lines():
                click.echo(line)
        ctx.exit()


def _verbose(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        raise click.UsageError("-v goes behind the verb, or beside --version")


@click.command(
    cls=Verbs,
    name="segwatch",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: segwatch demo",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose,
    help="With --version: also those of Python, the libraries and the broker's program.",
)  # fmt: skip
def cli() -> None:
    """Proves that environments are sealed from each other.

    Agents in every environment try to reach the ports and services of the others; what gets through and is not
    declared in topology.yaml is a finding. A green cell is proof: silence is not evidence.

    Every option has an environment variable: SEGWATCH_VERIFY_BASELINE is `segwatch verify --baseline`. The command line
    comes first; an empty variable counts as not set.
    """


def main() -> None:
    """The console script."""
    # Where one was closed, as by `>&-`: or the next file that is opened would be taken for it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    # A terminal that cannot show a glyph gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli.main()


if __name__ == "__main__":
    main()
