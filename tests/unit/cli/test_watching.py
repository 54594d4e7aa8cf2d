"""`--watch`: shown again where it has changed, in its place on a terminal, through an absence of the coordinator."""

import json
from collections.abc import Callable

import pytest

from cli.client import UnreachableError
from cli.show.render import Paint
from cli.watching import put

AWAY = UnreachableError("no coordinator answers at state/coordinator.sock")


class Enough(Exception):  # noqa: N818 - as Ctrl-C, after the last look
    pass


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], list[str]]]:
    """What the coordinator says at each look, one after the other; then it is enough."""

    def says(*answers: list[str] | UnreachableError) -> Callable[[], list[str]]:
        left = list(answers)

        def sleep(_: float) -> None:
            if len(left) == 1:
                raise Enough
            left.pop(0)

        def lines() -> list[str]:
            if isinstance(left[0], UnreachableError):
                raise left[0]
            return left[0]

        monkeypatch.setattr("time.sleep", sleep)
        return lines

    return says


Looks = Callable[..., Callable[[], list[str]]]


def watch(lines: Callable[[], list[str]], output: str = "table") -> None:
    with pytest.raises(Enough):
        put(output, watch=True, body=lambda: lines()[0], lines=lines, style=Paint(False))


def test_without_it_all_is_shown_once(looks: Looks, capsys: pytest.CaptureFixture[str]) -> None:
    lines = looks(["one"])
    put("table", watch=False, body=lambda: {"n": 1}, lines=lines, style=Paint(False))
    put("json", watch=False, body=lambda: {"n": 1}, lines=lines, style=Paint(False))
    assert capsys.readouterr().out == 'one\n{\n  "n": 1\n}\n'


def test_elsewhere_than_on_a_terminal_what_is_the_same_is_not_said_again(
    looks: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(looks(["one"], ["one"], ["two"], ["one"]))
    assert capsys.readouterr().out == "one\ntwo\none\n"


def test_json_is_a_line_for_each_change(looks: Looks, capsys: pytest.CaptureFixture[str]) -> None:
    watch(looks(["a\nb"], ["a\nb"], ["c"]), output="json")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ["a\nb", "c"]


def test_a_coordinator_that_is_away_is_waited_for(looks: Looks, capsys: pytest.CaptureFixture[str]) -> None:
    watch(looks(["one"], AWAY, AWAY, ["one"], ["two"]))
    said = capsys.readouterr()
    assert said.out == "one\none\ntwo\n"
    assert said.err == "no coordinator answers at state/coordinator.sock\n"


def test_one_that_never_was_there_is_an_error(looks: Looks) -> None:
    with pytest.raises(UnreachableError):
        put("table", watch=True, body=list, lines=looks(AWAY), style=Paint(False))


def test_on_a_terminal_it_stays_in_its_place(
    looks: Looks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    watch(looks(["one", "two"], ["one"], AWAY))
    first, second, third = capsys.readouterr().out.removeprefix("\x1b[H\x1b[2J").split("\x1b[H")[1:]
    assert first.startswith("one\x1b[K\ntwo\x1b[K\n\x1b[K\n")
    assert "Ctrl-C ends it" in first
    assert second.startswith("one\x1b[K\n\x1b[K\n")
    assert third.startswith("one\x1b[K\n\x1b[K\nno coordinator answers")
    assert all(part.endswith("\x1b[J") for part in (first, second, third))
