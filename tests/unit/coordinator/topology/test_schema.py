"""The schema that editors complete from and the loader say the same, and say what each key is for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from coordinator.topology.load import TopologyErrors, parse_topology
from coordinator.topology.scalars import FORMATS
from coordinator.topology.schema import schema
from tests.support.paths import ROOT

BAD = sorted((ROOT / "tests" / "bad_topologies").glob("*.yaml"))
ESTATE = "version: 1\nenvironments:\n  dev:\n    networks: [10.10.0.0/24]\n    services:\n      db: {hosts: [a], ports: [tcp/1]}\n"


class Texts(yaml.SafeLoader):
    """As editors read YAML 1.2, where a time and `no` are texts."""


Texts.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp") and (not tag.endswith(":bool") or first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def plain_validator() -> Draft202012Validator:
    """jsonschema as it comes, with the formats' own checks: without what the loader adds to it."""
    checker = FormatChecker(formats=())
    for name, parse in FORMATS.items():
        checker.checks(name, raises=ValueError)(lambda value, parse=parse: bool(parse(value)))
    return Draft202012Validator(schema(), format_checker=checker)


def parts(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every mapping of the schema with the way to it."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            yield from parts(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from parts(value, f"{where}/{index}")


def documented() -> Iterator[tuple[str, dict[str, Any]]]:
    for where, node in parts(schema()):
        for key, value in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            yield f"{where}/{key}", value


DOCUMENTED = list(documented())


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return {**schema()["$defs"][reference.removeprefix("#/$defs/")], **node} if reference else node


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_good_file_fits_it_and_names_it() -> None:
    text = (ROOT / "topology.yaml").read_text("utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=coordinator/topology.schema.json"
    assert (ROOT / "coordinator" / "topology.schema.json").is_file()
    assert not list(plain_validator().iter_errors(yaml.load(text, Texts)))
    assert parse_topology(text.encode()).environments


@pytest.mark.parametrize(("where", "node"), DOCUMENTED, ids=[where for where, _ in DOCUMENTED])
def test_each_key_says_what_it_is_for(where: str, node: dict[str, Any]) -> None:
    text = resolved(node).get("description", "")
    assert len(text) > 10, where
    assert text.endswith("."), where


def test_each_mapping_knows_all_of_its_keys() -> None:
    for where, node in parts(schema()):
        if isinstance(node.get("properties"), dict):
            assert node["additionalProperties"] is False, where
            assert set(node.get("required", ())) <= set(node["properties"]), where


def test_each_format_has_a_parser_and_each_parser_a_use() -> None:
    used = {node["format"] for _, node in parts(schema()) if isinstance(node.get("format"), str)}
    assert used == set(FORMATS)


@pytest.mark.parametrize(("where", "node"), DOCUMENTED, ids=[where for where, _ in DOCUMENTED])
def test_examples_and_defaults_fit_their_own_key(where: str, node: dict[str, Any]) -> None:
    whole = resolved(node)
    for value in (*whole.get("examples", ()), *([whole["default"]] if "default" in whole else ())):
        assert plain_validator().evolve(schema={**whole, "$defs": schema()["$defs"]}).is_valid(value), (where, value)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_the_schema_refuses_the_loader_refuses(path: Path) -> None:
    """The bad files are all refused by the loader; the schema refuses each that is YAML and wrong in one place."""
    try:
        data = yaml.load(path.read_text("utf-8"), Texts)
    except yaml.YAMLError:
        return
    beyond_a_schema = (
        "-twice", "-shared", "-outside-networks", "-nowhere", "-of-two", "-to-no-environment", "agent-and-service", "-line-end",
        "duplicate-key", "duplicate-key-inner", "merge-key", "yaml-control-character", "network-wide", "network-wide-ipv6",
    )  # fmt: skip
    refused = not plain_validator().is_valid(data)
    assert refused or path.stem.endswith(beyond_a_schema)


@pytest.mark.parametrize(
    "more",
    [
        "paths:\nwaivers:\nprobing:\n",
        "paths: []\nwaivers: []\nprobing: {}\n",
        "probing: {every: 1.5h, sweep: {every: 7d, ports: [tcp/1-65535, 'udp/53,123', icmp]}, rate_pps: 100.0}\n",
        "probing: {sweep: , blackout: }\n",
        "probing: {blackout: [{cron: '*/5 1-3,5 * * 1-5', for: 90m, timezone: Europe/Berlin}]}\n",
        "paths: [{name: A.b_c-1, from: dev, to: 2001:db8::/32, ports: [icmp], expect: allowed, owner: é}]\n",
        "waivers: [{id: '1', from: 10.0.0.1, to: dev.db, expires: '2027-01-31T02:00:00+02:00'}]\n",
    ],
)
def test_what_the_schema_takes_the_loader_takes(more: str) -> None:
    assert not list(plain_validator().iter_errors(yaml.load(ESTATE + more, Texts)))
    assert parse_topology((ESTATE + more).encode())


@pytest.mark.parametrize(
    "more",
    [
        "probing: {rate_pps: true}\n",
        "probing: {rate_pps: 1e7}\n",
        "paths: [{name: a, from: dev, to: dev, ports: []}]\n",
        "paths: {}\n",
        "waivers: [{id: W, from: dev, to: dev}]\n",
        "version: 2\n",
    ],
)
def test_what_the_schema_refuses_gives_errors(more: str) -> None:
    estate = ESTATE.replace("version: 1\n", "") if more.startswith("version") else ESTATE
    assert list(plain_validator().iter_errors(yaml.load(estate + more, Texts)))
    with pytest.raises(TopologyErrors):
        parse_topology((estate + more).encode())
