"""A topology file that means harm: bombs, masses of errors, any bytes. It has errors, and costs no more than its size."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coordinator.topology import document
from coordinator.topology.document import MOST_PROBLEMS
from coordinator.topology.load import TopologyErrors, parse_topology
from coordinator.topology.schema import MOST_ERRORS
from tests.support.topologies import ESTATE, GOOD, errors_of, only_error_of
from tests.support.work import calls


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
DEEP = "nested deeper than 32 levels; look for brackets that are not closed"


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
def test_a_bomb_is_stopped_at_its_place(content: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_VALUES", 100_000)  # what it is takes its time
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
