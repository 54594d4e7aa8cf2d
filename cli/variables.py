"""The environment variable of every option: SEGWATCH_VERIFY_BASELINE is `segwatch verify --baseline`.

It is named for the verb and the flag. The options that say where the coordinator is have one name for all verbs.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator

import click
from click.core import ParameterSource

PREFIX = "SEGWATCH"
# What Kubernetes sets for a service that is called like a verb: SEGWATCH_COORDINATOR_PORT_8600_TCP.
_OF_A_SERVICE = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\w+)?")


def name(verbs: str, option: click.Option) -> str:
    """The variable of an option of `segwatch VERBS`, by its long flag."""
    flag = next(flag for flag in option.opts if flag.startswith("--"))
    return f"{PREFIX} {verbs} {flag.removeprefix('--')}".replace(" ", "_").replace("-", "_").upper()


def name_all(verb: str, command: click.Command) -> None:
    """Give each option of a verb, and of the verbs below it, its variable; one that has a name of its own keeps it."""
    for verbs, option in _options(verb, command):
        option.envvar = option.envvar or name(verbs, option)
        if option.multiple and not option.show_envvar:  # a verb that is met again has its names
            option.help = f"{option.help} In the variable: separated by spaces."
        option.show_envvar = True


def strangers(verb: str, command: click.Command) -> Iterator[str]:
    """A line for each variable that is set and begins like those of the verb, but belongs to no option."""
    start = f"{PREFIX}_{verb.upper()}_"
    known = {name(verbs, option).removeprefix(start): str(option.envvar) for verbs, option in _options(verb, command)}
    taken = set(known.values())
    for variable, value in sorted(os.environ.items()):
        rest = variable.removeprefix(start)
        if not value or rest == variable or variable in taken or _OF_A_SERVICE.fullmatch(rest):
            continue
        near = difflib.get_close_matches(rest, known, n=1)
        hint = f"did you mean {known[near[0]]}?" if near else f"`segwatch {verb} --help` lists them."
        yield f"segwatch {verb} has no variable {variable}; {hint}"


def taken(context: click.Context) -> list[str]:
    """The variables that gave an option of the running command its value."""
    return [
        str(option.envvar)
        for option in context.command.params
        if context.get_parameter_source(option.name or "") is ParameterSource.ENVIRONMENT
    ]


def _options(verbs: str, command: click.Command) -> Iterator[tuple[str, click.Option]]:
    for option in command.params:
        if isinstance(option, click.Option):
            yield verbs, option
    if isinstance(command, click.Group):
        for below, one in command.commands.items():
            yield from _options(f"{verbs} {below}", one)
