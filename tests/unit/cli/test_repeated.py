"""No verb takes the last of several values in silence."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import VERBS, cli

Single = tuple[tuple[str, ...], str]  # verbs, long flag


def commands(verbs: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield verbs, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands((*verbs, name), below)


def every() -> Iterator[tuple[Single, click.Option]]:
    for verb, (place, _) in VERBS.items():
        module, attribute = place.split(":")
        for verbs, command in commands((verb,), getattr(importlib.import_module(module), attribute)):
            for option in command.params:
                if isinstance(option, click.Option) and not option.is_flag and not option.count:
                    yield (verbs, next(flag for flag in option.opts if flag.startswith("--"))), option


SINGLE = [one for one, option in every() if not option.multiple]
SEVERAL = [one for one, option in every() if option.multiple]


def given(verbs: tuple[str, ...], *words: str) -> Result:
    return CliRunner().invoke(cli, [*verbs, *words])


def test_there_are_some() -> None:
    assert len(SINGLE) > 50
    assert {verbs for verbs, _ in SEVERAL} >= {("verify",), ("coordinator",)}


@pytest.mark.parametrize("one", SINGLE, ids=lambda one: " ".join((*one[0], one[1])))
def test_an_option_of_one_value_is_not_taken_twice(one: Single) -> None:
    verbs, flag = one
    done = given(verbs, flag, "1", flag, "2")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"segwatch {' '.join(verbs)}: {flag} is given 2 times, and takes one value" in done.stderr


@pytest.mark.parametrize("one", SEVERAL, ids=lambda one: " ".join((*one[0], one[1])))
def test_one_of_several_values_is(one: Single) -> None:
    verbs, flag = one
    assert "takes one value" not in given(verbs, flag, "1", flag, "2").stderr


@pytest.mark.parametrize(
    "words", [("--to", "a", "--from", "b", "-o", "json", "-o", "csv"), ("-o", "json", "--output=csv")]
)
def test_by_whatever_spelling_and_among_whatever_else(words: tuple[str, ...]) -> None:
    done = given(("verify",), *words)
    assert (done.exit_code, "--output is given 2 times" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "a", "--form", "b"), "no such option"),
        (("--from",), "requires an argument"),
        (("x", "y"), "unexpected"),
    ],
)
def test_what_is_wrong_otherwise_is_said_as_ever(words: tuple[str, ...], said: str) -> None:
    done = given(("verify",), *words)
    assert (done.exit_code, said in done.stderr.lower()) == (2, True)


def test_help_and_switches_may_be_repeated() -> None:
    assert given(("verify",), "--help", "--from", "a", "--from", "b").exit_code == 0
    assert "takes one value" not in given(("verify",), "-v", "-v", "--cells", "--cells").stderr
