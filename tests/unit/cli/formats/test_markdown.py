"""`verify` in Markdown: one line, one table, and what to do."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from cli.formats.markdown import escaped, markdown
from tests.support.pipeline import KNOWN, held
from tests.support.sample import Estate


def test_markdown_is_one_line_one_table_and_what_to_do() -> None:
    lines = markdown(Estate(undecided=True).run_body(), "topology.yaml").splitlines()
    assert lines[0].startswith("✗ **segwatch FAIL** · 1 unexpected path, 2 cells inconclusive · 4 environments, ")
    assert lines[2:5] == [
        "|  | to dev | to test | to staging | to prod |",
        "| --- | --- | --- | --- | --- |",
        "| **from dev** | · | ■ 100% | ■ 100% | ✗ 1 path |",
    ]
    text = "\n".join(lines)
    assert sum(line.startswith("| ---") for line in lines) == 1
    assert "- ✗ **dev can reach prod's model registry**: dev-1 → 10.30.0.21 tcp/5000 · reachable (replied)" in text
    assert "  - to do: take out what lets 10.10.0.10 reach 10.30.0.21 tcp/5000 in the firewall, or declare" in text
    assert "(`topology.yaml:41-46`)" in text
    assert "- ? test → prod 10.30.0.21 tcp/22,53 · unknown: silent-inside · install an agent on 10.30.0.21" in text


def test_markdown_says_that_probing_was_stopped() -> None:
    line = markdown(replace(Estate().run_body(), stopped="change *freeze*"), "t.yaml").splitlines()[0]
    assert line.endswith(r" · all probing was stopped meanwhile: change \*freeze\*")


def test_markdown_of_a_run_without_findings_is_short() -> None:
    assert len(markdown(Estate(leak=False).run_body(), "t.yaml").splitlines()) == 8


def test_many_environments_are_a_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.formats.markdown.WIDEST", 3)
    lines = markdown(Estate(undecided=True).run_body(), "t.yaml").splitlines()
    assert lines[4:7] == [
        "| dev → prod | ✗ 1 path |",
        "| test → prod | ? 98.2% |",
        "| 10 other pairs | all as declared |",
    ]


def test_what_comes_from_elsewhere_is_no_mark_up() -> None:
    assert escaped("<b>|`x`| @all\n# [a](http://b)\x1b[2J") == (r"\<b\>\|\`x\`\| &#64;all \# \[a\](http://b) \[2J")
    text = markdown(held(KNOWN.replace("data-eng", "'@all <img src=x> | x'")), "t.yaml")
    assert "<img" not in re.sub(r"\\<", "", text)
    assert "@all" not in text
