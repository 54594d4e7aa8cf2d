"""Whatever stands in a topology file: a topology, or all of its errors with place and remedy."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from coordinator.topology.load import MOST_BYTES, load_topology, parse_topology
from reachability.vocabulary import Declared, Require, Sensitivity
from tests.support.paths import ROOT
from tests.support.topologies import ESTATE, GOOD, errors_of, large_file, only_error_of, refused

BAD = sorted((ROOT / "tests" / "bad_topologies").glob("*.yaml"))
PYYAMLS = ("6.0.2", "6.0.3", "6.0.4")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_has_exactly_the_error_in_its_first_line(path: Path) -> None:
    wanted = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
    assert refused(lambda: load_topology(path)) == (f"{path}:{wanted}",)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_mended_by_nothing_but_what_the_error_names(path: Path) -> None:
    """Its error is the only one: every bad file holds the good estate, or less of it."""
    lines = path.read_text("utf-8").splitlines()
    line, column, message = lines[0].removeprefix("# ").split(":", 2)
    assert 1 <= int(line) <= len(lines) + 1
    assert int(column) >= 1
    assert message.startswith(" ")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_scanner_without_libyaml_refuses_it_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    [error] = refused(lambda: load_topology(path))
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: ", error)


ALL_BAD = """
import sys, yaml
from coordinator.topology.load import TopologyErrors, load_topology
assert yaml.__version__ == sys.argv[1], yaml.__file__
for path in sys.argv[2:]:
    try:
        load_topology(path)
    except TopologyErrors as errors:
        print(errors)
"""


@pytest.mark.parametrize("version", PYYAMLS)
def test_every_pyyaml_has_the_same_said(version: str) -> None:
    library = ROOT / ".stamps" / f"pyyaml-{version}"
    assert library.is_dir(), "`make unit` puts the versions of PyYAML there"
    done = subprocess.run(
        [sys.executable, "-c", ALL_BAD, version, *map(str, BAD)],
        env={**os.environ, "PYTHONPATH": f"{library}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"{path}:{path.read_text('utf-8').partition(chr(10))[0].removeprefix('# ')}" for path in BAD
    ]


def test_the_estate_of_the_bad_files_is_good() -> None:
    topology = parse_topology(ESTATE.encode())
    assert topology.agents() == {"dev-1": "dev", "prod-1": "prod"}


def test_the_good_file_says_what_it_says() -> None:
    topology = load_topology(ROOT / "topology.yaml")
    prod = topology.environments["prod"]
    assert (prod.sensitivity, prod.require) == (Sensitivity.CRITICAL, Require.NO_SESSION)
    assert set(topology.agents().values()) == {"dev", "test", "staging", "prod"}
    [required] = [path for path in topology.paths if path.expect is Declared.REQUIRED]
    assert required.name == "ci-promotes-models"
    assert GOOD.decode().splitlines()[required.mark.line - 1].strip() == "- name: ci-promotes-models"
    assert GOOD.decode().splitlines()[prod.mark.line - 1] == "  prod:"
    assert load_topology(str(ROOT / "topology.yaml")) == parse_topology(GOOD, str(ROOT / "topology.yaml"))


def test_all_errors_come_at_once_and_in_order() -> None:
    content = ESTATE.replace("10.10.0.0/24", "10.10.0.1/24").replace("tcp/5432", "tcp/0").replace("prod-1", "Prod-1")
    content += "paths:\n  - {name: a, from: dev, to: prod.cache, expect: sometimes}\ncolour: blue\ncolour: red\n"
    places = [tuple(map(int, error.split(":")[1:3])) for error in errors_of(content)]
    assert places == [(3 + 1, 16), (10, 7), (12, 41), (14, 30), (14, 50), (15, 1), (16, 1)]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "t.yaml:1:1: the file is empty; a topology is a mapping that begins with 'version: 1'"),
        (b"\n  \n# nothing\n", "t.yaml:1:1: the file is empty; a topology is a mapping that begins with 'version: 1'"),
        (b"\nhello\n", "t.yaml:2:1: this is 'hello'; a topology is a mapping that begins with 'version: 1'"),
        (b"42", "t.yaml:1:1: this is 42; a topology is a mapping that begins with 'version: 1'"),
        (b"version: 1\ndev\0: 1\n", "t.yaml:2:4: character U+0000 does not belong in a text file; take it out"),
        (b"version: 1\n\x1b[31m", "t.yaml:2:1: character U+001B does not belong in a text file; take it out"),
        ("version: 1\n# café\n".encode("latin-1"), "t.yaml:2:6: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (ESTATE.encode("utf-16"), "t.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"# \xed\xa0\x80", "t.yaml:1:3: byte 0xed is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_text_or_no_mapping(content: bytes, error: str) -> None:
    assert only_error_of(content) == error


@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
def test_line_ends_and_a_byte_order_mark_are_no_errors(ends: bytes) -> None:
    assert parse_topology(b"\xef\xbb\xbf" + ESTATE.encode().replace(b"\n", ends)).agents()


BAD_NAMES = ["a/b", "a+b", "a#b", "Prod", "my prod", "+", "#", "-a", "9a", "é", "", "a\u202e", "a.b", "a_b", "a" * 64]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    ("part", "noun", "place"), [("prod", "environment", "7:3"), ("prod-1", "agent", "10:7"), ("db", "service", "12:7")]
)
def test_a_name_that_no_topic_and_no_path_can_hold(name: str, part: str, noun: str, place: str) -> None:
    written = yaml.safe_dump(name, allow_unicode=True, default_style='"').strip()
    error = only_error_of(ESTATE.replace(f" {part}:", f" {written}:"))
    assert error.startswith(f"t.yaml:{place}: {noun} name '")
    assert "shorten it" in error if len(name) > 63 else "lower-case letters, digits and hyphens" in error


@pytest.mark.parametrize("name", ["dev-1", "a", "a1", "a" * 63, "null", "true", "no"])
def test_a_name_that_is_good(name: str) -> None:
    assert name in parse_topology(ESTATE.replace(" prod:", f" {name}:").encode()).environments


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert refused(lambda: load_topology(path)) == (
        f"{path}: cannot be read: no such file or directory; name a topology file",
    )


@pytest.mark.timeout(60)
def test_a_directory_and_a_pipe_and_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path("/dev/zero"), Path("/dev/tty")):
        [error] = refused(lambda path=path: load_topology(path))  # type: ignore[misc]
        assert re.match(
            rf"{re.escape(str(path))}: (not a regular file|cannot be read: .*); name a topology file$", error
        )


@pytest.mark.timeout(60)
def test_a_pipe_that_somebody_writes_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert refused(lambda: load_topology(pipe)) == (f"{pipe}: not a regular file; name a topology file",)
    finally:
        os.close(writer)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""], ids=["nul", "long", "empty"])
def test_a_name_that_no_file_has(name: str) -> None:
    [error] = refused(lambda: load_topology(name))
    assert error.endswith("; name a topology file")


@pytest.mark.parametrize("size", [MOST_BYTES + 1, 100_000_000])
def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(size)
    message = "larger than 16 MiB, which no topology is; name a topology file"
    assert refused(lambda: load_topology(path)) == (f"{path}: {message}",)
    assert only_error_of(b" " * (MOST_BYTES + 1)) == f"t.yaml: {message}"


def test_a_plan_that_is_too_large_is_refused_before_it_is_made() -> None:
    assert len(parse_topology(large_file(1000, 1000)).agents()) == 1000
    assert only_error_of(large_file(1000, 1001)).startswith("t.yaml: its plan has 3,003,000 targets, of 1,000 agents ")
