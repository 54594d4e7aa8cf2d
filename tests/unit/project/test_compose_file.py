"""The compose file is one by the Compose Specification's own schema, whatever version of docker-compose reads it."""

import copy
import json
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.paths import ROOT

SCHEMA = jsonschema.Draft7Validator(json.loads((ROOT / "tests/support/schemas/compose-spec.json").read_text("utf-8")))
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.test.yml").read_text("utf-8"))


def wrong(file: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in SCHEMA.iter_errors(file)]


def test_it_is_valid() -> None:
    assert wrong(FILE) == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("verify", "comand", []),
        ("core", "networks", 3),
        ("keys", "healthcheck", {"interval": {}}),
        ("router", "cap_add", "NET_ADMIN"),
    ],
)
def test_the_schema_sees_what_is_wrong(service: str, key: str, value: object) -> None:
    broken = copy.deepcopy(FILE)
    broken["services"][service][key] = value
    assert wrong(broken)


def test_no_packet_can_leave() -> None:
    assert {name: network["internal"] for name, network in FILE["networks"].items()} == dict.fromkeys(
        FILE["networks"], True
    )
    assert not [
        name
        for name, service in FILE["services"].items()
        if service.get("ports") or service.get("network_mode") == "host"
    ]
