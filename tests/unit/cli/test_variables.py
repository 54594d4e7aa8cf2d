"""The environment variable of every option: its name, what it holds, and what is said of one that nobody reads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import VERBS, cli
from tests.support.paths import ROOT
from tests.support.pipeline import KNOWN, Serving

OWN = {"SEGWATCH_STATE_DIR", "SEGWATCH_COORDINATOR", "SEGWATCH_TOKEN", "SEGWATCH_CA_FILE"}
COMPOSE = set(re.findall(r"\$\{(SEGWATCH_\w+)", (ROOT / "docker-compose.test.yml").read_text()))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb, and the verbs below it."""
    context = click.Context(cli)

    def below(verbs: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield verbs, command
        if isinstance(command, click.Group):
            for name, one in command.commands.items():
                yield from below(f"{verbs} {name}", one)

    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        yield from below(verb, command)


OPTIONS = [(verbs, o) for verbs, command in commands() for o in command.params if isinstance(o, click.Option)]


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(cli, arguments)


def test_every_option_of_every_verb_has_a_variable_of_its_own() -> None:
    names = [str(option.envvar) for _, option in OPTIONS]
    assert len(names) > 100
    twice = {name for name, count in Counter(names).items() if count > 1}
    assert twice == OWN, "what says where the coordinator is has one name for all verbs"
    assert all(re.fullmatch(r"SEGWATCH_[A-Z_]+", name) for name in names)
    assert len(COMPOSE) == 3
    verbs = {f"SEGWATCH_{verb.upper()}_" for verb in VERBS}
    assert not [name for name in COMPOSE if name in names or any(name.startswith(verb) for verb in verbs)]
    for name in (
        "SEGWATCH_VERIFY_FROM",
        "SEGWATCH_VERIFY_REPORT",
        "SEGWATCH_PKI_AGENT_OUT",
        "SEGWATCH_AGENT_STATE_DIR",
    ):
        assert name in names
    assert "SEGWATCH_COORDINATOR_LISTEN" in names


@pytest.mark.parametrize("verbs", [verbs for verbs, _ in commands()])
def test_the_help_names_them_within_100_columns(verbs: str) -> None:
    result = CliRunner().invoke(cli, [*verbs.split(), "--help"], terminal_width=100)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    said = " ".join(result.stdout.split())
    for mine, option in OPTIONS:
        if mine == verbs:
            assert re.search(rf"\[env var: {option.envvar}\b", said), option.envvar
            assert not option.multiple or f"separated by spaces. [env var: {option.envvar}" in said


def test_a_list_in_a_variable_is_separated_by_spaces_whatever_it_is_of() -> None:
    lists = [option for _, option in OPTIONS if option.multiple or option.nargs != 1]
    assert len(lists) >= 5
    assert {option.type.envvar_list_splitter for option in lists} == {None}


def test_verify_takes_all_from_the_environment(serving: Serving, tmp_path: Path) -> None:
    run = serving(waits=0)
    known, junit, body = run.file("known.yaml", KNOWN), tmp_path / "a.xml", tmp_path / "a.json"
    result = run(
        SEGWATCH_VERIFY_BASELINE=known,
        SEGWATCH_VERIFY_REPORT=f"junit={junit} json={body}",
        SEGWATCH_VERIFY_SWEEP="1",
        SEGWATCH_VERIFY_FROM="dev",
        SEGWATCH_VERIFY_MAX_AGE="10m",
        SEGWATCH_VERIFY_SEVERITY="high",
        SEGWATCH_VERIFY_OUTPUT="markdown",
    )
    assert (result.exit_code, result.stderr.count("SEGWATCH")) == (0, 0), result.output
    assert result.stdout.startswith("✓ **segwatch PASS**")
    assert run.fake.posted == [("verify", {"sweep": True, "from": "dev", "to": None, "max_age_s": 600.0})]
    assert junit.read_text().startswith("<?xml")
    assert json.loads(body.read_text())["severity"]["from"] == "high"


def test_the_command_line_comes_first(serving: Serving) -> None:
    run = serving()
    assert run("-o", "table", SEGWATCH_VERIFY_OUTPUT="json").stdout.startswith("FAIL")
    assert run("-o", "json", SEGWATCH_VERIFY_OUTPUT="nonsense").exit_code == 1


@pytest.mark.parametrize(
    ("value", "sweep"),
    [("1", True), ("yes", True), ("true", True), ("on", True), ("0", False), ("no", False), ("", False)],
)
def test_a_flag_takes_yes_and_no(serving: Serving, value: str, sweep: bool) -> None:
    run = serving()
    run(SEGWATCH_VERIFY_SWEEP=value)
    assert [body["sweep"] for _, body in run.fake.posted] == [sweep]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SEGWATCH_VERIFY_SWEEP", "perhaps", "'perhaps' is not a valid boolean"),
        ("SEGWATCH_VERIFY_QUIET", "perhaps", "'perhaps' is not a valid boolean"),
        ("SEGWATCH_VERIFY_VERBOSE", "much", "'much' is not a valid integer"),
        ("SEGWATCH_VERIFY_TIMEOUT", "soon", "'soon' is not a duration"),
        ("SEGWATCH_VERIFY_SEVERITY", "urgent", "'urgent' is not one of"),
        ("SEGWATCH_VERIFY_REPORT", "junit=a xml=b", "'xml=b' is not FORMAT=FILE"),
    ],
)
def test_what_it_cannot_be_is_refused_by_its_name(serving: Serving, variable: str, value: str, said: str) -> None:
    run = serving()
    result = run(**{variable: value})
    assert (result.exit_code, run.fake.posted) == (2, [])
    assert said in result.stderr
    assert variable in result.stderr


def test_what_contradicts_the_command_line_is_named(serving: Serving) -> None:
    run = serving()
    known = run.file("known.yaml", KNOWN)
    result = run("--write-baseline", run.file("new.yaml"), "--owner", "ada", SEGWATCH_VERIFY_BASELINE=known)
    assert result.exit_code == 2
    assert "  From the environment: SEGWATCH_VERIFY_BASELINE\n" in result.stderr
    assert "environment" not in run("--owner", "ada").stderr


def test_quiet_plain_and_verbose(serving: Serving) -> None:
    run = serving(waits=3)
    assert "waiting" in run().stderr
    run.fake.waits = 3
    assert run(SEGWATCH_VERIFY_QUIET="1", SEGWATCH_VERIFY_VERBOSE="2").stderr == ""
    assert "\x1b[" in run(FORCE_COLOR="1", NO_COLOR="").stdout
    assert "\x1b[" not in run(FORCE_COLOR="1", NO_COLOR="", SEGWATCH_VERIFY_NO_COLOR="1").stdout
    assert "\x1b[" in run(FORCE_COLOR="1", NO_COLOR="", SEGWATCH_VERIFY_NO_COLOR="0").stdout


def test_empty_is_not_set(serving: Serving) -> None:
    names = [str(option.envvar) for verbs, option in OPTIONS if verbs == "verify"]
    result = serving()(**dict.fromkeys(names, ""), SEGWATCH_VERIFY_BASLINE="")
    assert (result.exit_code, "SEGWATCH" in result.output) == (1, False)


def test_a_variable_that_is_none_gets_one_line_with_the_nearest(serving: Serving) -> None:
    result = serving()(
        SEGWATCH_VERIFY_BASLINE="a.yaml",
        SEGWATCH_VERIFY_STATE_DIR="/tmp",
        SEGWATCH_VERIFY_XYZZY="1",
        SEGWATCH_VERIFY_PORT_8600_TCP="tcp://10.0.0.1:8600",
        SEGWATCH_IMAGE="segwatch:test",
        SEGWATCH_AGENT_USR="of another verb",
    )
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "SEGWATCH" in line] == [
        "segwatch verify has no variable SEGWATCH_VERIFY_BASLINE; did you mean SEGWATCH_VERIFY_BASELINE?",
        "segwatch verify has no variable SEGWATCH_VERIFY_STATE_DIR; did you mean SEGWATCH_STATE_DIR?",
        "segwatch verify has no variable SEGWATCH_VERIFY_XYZZY; `segwatch verify --help` lists them.",
    ]


def test_those_of_the_verbs_below_are_known(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text((ROOT / "topology.yaml").read_text())
    environment = {"SEGWATCH_TOPOLOGY_EXPLAIN_PORT": "tcp/22", "SEGWATCH_TOPOLOGY_CHECK_OUTPUT": "json"}
    result = run("topology", "check", str(file), **environment)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["errors"] == []


def test_the_page_for_pipelines_has_those_of_verify() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    assert [o.envvar for verbs, o in OPTIONS if verbs == "verify" and f"`{o.envvar}`" not in text] == []
    named = set(re.findall(r"SEGWATCH_VERIFY_\w+", text)) - {"SEGWATCH_VERIFY_BASLINE"}
    assert named <= {o.envvar for _, o in OPTIONS}
