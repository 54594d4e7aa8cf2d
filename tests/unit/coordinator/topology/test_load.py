"""Whatever stands in a topology file: a topology, or all of its errors with place and remedy; never another exception."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coordinator.topology.document import MOST_PROBLEMS
from coordinator.topology.load import MOST_BYTES, TopologyErrors, load_topology, parse_topology
from coordinator.topology.schema import MOST_ERRORS
from reachability.topology import Topology
from reachability.vocabulary import Declared, Require, Sensitivity
from tests.support.paths import ROOT

BAD = sorted((ROOT / "tests" / "bad_topologies").glob("*.yaml"))
GOOD = (ROOT / "topology.yaml").read_bytes()
PYYAMLS = ("6.0.2", "6.0.3", "6.0.4")
ESTATE = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents:
      dev-1: {addresses: [10.10.0.10]}
  prod:
    networks: [10.30.0.0/24]
    agents:
      prod-1: {addresses: [10.30.0.10]}
    services:
      db: {hosts: [10.30.0.21], ports: [tcp/5432]}
"""


def refused(read: Callable[[], Topology]) -> tuple[str, ...]:
    """The errors of what must be refused, each on a line of its own."""
    with pytest.raises(TopologyErrors) as raised:
        read()
    errors = raised.value.errors
    assert errors
    assert str(raised.value) == "\n".join(errors)
    assert all(error.isprintable() for error in errors)
    return errors


def errors_of(content: str | bytes) -> tuple[str, ...]:
    found = content.encode() if isinstance(content, str) else content
    errors = refused(lambda: parse_topology(found, "t.yaml"))
    assert max(map(len, errors)) < 1000
    return errors


def only_error_of(content: str | bytes) -> str:
    [error] = errors_of(content)
    return error


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


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object:os.system",
        "!!python/object/apply:os.system",
        "!!python/object/new:subprocess.Popen",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary",
        "!!timestamp",
        "!local",
    ],
)
@pytest.mark.parametrize("value", ["[]", "{}", "x"])
def test_a_tag_is_refused_where_it_stands(tag: str, value: str) -> None:
    errors = errors_of(f"{ESTATE}paths: {tag} {value}\n")
    message = f"tag '{tag}' is not allowed; a topology is plain mappings, lists and texts"
    assert f"t.yaml:13:8: {message}" in errors


def aliases(value: str, count: int) -> str:
    return f"{ESTATE}x: &a {value}\npaths: [{','.join(['*a'] * count)}]\n"


LAUGHS = "".join(
    f"{key}: &{key} [{','.join(['*' + before] * 9)}]\n" for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)
MANY = "more than 100000 values, its aliases written out"
DEEP = "nested deeper than 32 levels; look for brackets that nobody closes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 5000, DEEP),
        ("[" * 5000 + "]" * 5000, DEEP),
        ("{a: " * 5000, DEEP),
        ("- " * 5000, DEEP),
        ("? " * 5000, DEEP),
        ("".join(" " * depth + "a:\n" for depth in range(2000)), DEEP),
        (f"a: &a [{','.join('x' * 9)}]\n{LAUGHS}", MANY),
        (aliases("'" + "1" * 1_000_000 + "'", 90_000), MANY),
        (aliases("{" + ",".join(f"k{i}: v" for i in range(1000)) + "}", 90_000), MANY),
        ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a", "nested deeper than 32 levels by its aliases"),
        ("[" * 4_000_000, DEEP),
        ("{" + "," * 4_000_000, "a value is missing here"),
        ("- x\n" * 1_000_000, MANY),
    ],
    ids=range(13),
)
def test_a_bomb_is_stopped_at_its_place(content: str, message: str) -> None:
    assert re.match(rf"t\.yaml:\d+:\d+: {message}", only_error_of(content))


SERVICE = ESTATE + "      more: {hosts: [10.30.0.22], ports: [tcp/1], holds: [%s]}\n"
ENVIRONMENTS = "version: 1\nenvironments:\n  dev:\n    networks: [%s]\n    agents:\n%s"


@pytest.mark.parametrize(
    "content",
    [
        SERVICE % ",".join(f"{{a: {i}}}" for i in range(25_000)),
        SERVICE % ",".join(f"[{i}]" for i in range(40_000)),
        SERVICE % (",".join(f"a{i}" for i in range(90_000)) + ",1"),
        SERVICE.replace("tcp/1", ",".join(["tcp/1"] * 80_000)) % "",
        ENVIRONMENTS
        % (
            ",".join(f"10.{i // 256}.{i % 256}.0/24" for i in range(20_000)),
            "".join(f"      a{i}: {{addresses: [192.168.{i // 250}.{i % 250 + 1}]}}\n" for i in range(12_000)),
        ),
        ESTATE + "paths:\n" + "".join(f"  - {{name: p{i}, from: dev.a{i}, to: prod.b}}\n" for i in range(12_000)),
        ESTATE + "".join(f"key{i}: 1\n" for i in range(45_000)),
        ESTATE + "colour: blue\n" * 45_000,
        ESTATE.replace("tcp/5432", "tcp/" + "1," * 1_900_000 + "x"),
        ESTATE.replace("10.30.0.10", "1" * 4_000_000),
        ESTATE + "probing: {blackout: [{cron: '" + "* " * 1_900_000 + "', for: 1h}]}\n",
        "version: " + "9" * 4_000_000,
        "'" + "x" * 4_000_000 + "'",
    ],
    ids=range(13),
)
def test_a_file_full_of_errors_shows_some_of_them(content: str) -> None:
    assert len(errors_of(content)) <= 2 * MOST_ERRORS + MOST_PROBLEMS


def calls(read: Callable[[], object]) -> int:
    """How many functions are called, Python's and C's: a measure of work that no machine changes."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    former = sys.getprofile()
    sys.setprofile(counted)
    try:
        read()
    finally:
        sys.setprofile(former)
    return count


def estate_of(size: int) -> bytes:
    networks = ",".join(f"10.{i // 256}.{i % 256}.0/24" for i in range(size * 5 // 3))
    agents = "".join(f"      a{i}: {{addresses: [10.{i // 256}.{i % 256}.1]}}\n" for i in range(size))
    return (ENVIRONMENTS % (networks, agents)).encode()


def outside(size: int) -> bytes:
    return estate_of(size).replace(b"addresses: [10.", b"addresses: [192.")


def paths_to_nowhere(size: int) -> bytes:
    return (
        ESTATE + "paths:\n" + "".join(f"  - {{name: p{i}, from: dev.a{i}, to: prod.b}}\n" for i in range(size))
    ).encode()


def duplicates(size: int) -> bytes:
    return (ESTATE + "colour: blue\n" * size).encode()


@pytest.mark.parametrize("content", [estate_of, outside, paths_to_nowhere, duplicates])
def test_work_grows_with_the_file_and_not_with_its_square(content: Callable[[int], bytes]) -> None:
    def read(size: int) -> None:
        try:
            parse_topology(content(size))
        except TopologyErrors:
            assert content is not estate_of

    read(10)  # what is done once is done
    small, large = (calls(lambda size=size: read(size)) for size in (500, 2000))  # type: ignore[misc]
    assert large < 5 * small


def test_many_networks_and_agents_that_are_right_are_read() -> None:
    assert len(parse_topology(estate_of(12_000)).agents()) == 12_000


def test_anchors_within_bounds_are_no_error() -> None:
    content = (
        ESTATE.replace("hosts: [10.30.0.21]", "hosts: &hosts [10.30.0.21]")
        + "      web: {hosts: *hosts, ports: [tcp/80]}\n"
    )
    assert parse_topology(content.encode()).environments["prod"].services["web"].hosts == ("10.30.0.21",)


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
    message = "larger than 4 MiB, which no topology is; name a topology file"
    assert refused(lambda: load_topology(path)) == (f"{path}: {message}",)
    assert only_error_of(b" " * (MOST_BYTES + 1)) == f"t.yaml: {message}"


TOKENS = [
    *"[]{}:,-?*&!|>'\"%@`#\t\r\n \\/+.~=<\0\x85\u2028\ufeff",
    *("<<", "---", "...", "%YAML 3.0", "!!python/object:os.system", "&a", "*a", "null", "1e999", "-0", "0x10", "é"),
    *("tcp/0", "10.0.0.1/8", "::1%eth0", "fe80::", "2027-01-31", "0 2 * * 0", "prod.", "9" * 400, "version: 1\n", "  "),
]
CUTS = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 40), st.sampled_from(TOKENS) | st.text(max_size=5)),
    min_size=1,
    max_size=6,
)


def loads_or_says_why(content: bytes) -> None:
    errors: tuple[str, ...] = ()
    try:
        loaded = bool(parse_topology(content, "t.yaml").environments)
    except TopologyErrors as error:
        loaded, errors = False, error.errors
    assert loaded is not bool(errors)
    assert all(line.startswith("t.yaml:") and line.isprintable() for line in errors)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\xff\xfe")
@example(b"? ? ? -")
@example(b"&a [*a]")
def test_any_bytes_are_a_topology_or_have_errors(content: bytes) -> None:
    loads_or_says_why(content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CUTS)
def test_any_damage_to_a_good_file_is_an_error_or_none(cuts: list[tuple[int, int, str]]) -> None:
    content = GOOD
    for at, length, put in cuts:
        content = content[:at] + put.encode("utf-8", "surrogatepass") + content[at + length :]
    loads_or_says_why(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TOKENS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), VALUES)
def test_any_value_in_any_place_is_an_error_or_none(data: st.DataObject, value: object) -> None:
    tree = yaml.safe_load(GOOD.decode().replace("2027-01-31T00:00:00Z", '"2027-01-31T00:00:00Z"'))
    here: Any = {"": tree}
    key: Any = ""
    while isinstance(here[key], dict | list) and here[key] and data.draw(st.integers(0, 3)):
        here = here[key]
        key = data.draw(st.sampled_from(list(here) if isinstance(here, dict) else list(range(len(here)))))
    here[key] = value
    loads_or_says_why(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
