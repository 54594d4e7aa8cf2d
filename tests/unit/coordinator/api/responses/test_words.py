"""The answers as a schema that others can read, and as something that the command line may import."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import msgspec

from coordinator.api import responses
from reachability.vocabulary import Result

MODULES = tuple(f"{responses.__name__}.{module.name}" for module in iter_modules(responses.__path__))
STRUCTS: tuple[type[msgspec.Struct], ...] = tuple(
    kind
    for name in MODULES
    for kind in vars(import_module(name)).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == name
)


def schema() -> dict[str, Any]:
    return msgspec.json.schema_components(STRUCTS)[1]


def test_every_struct_has_a_name_of_its_own_a_docstring_and_a_schema() -> None:
    components = schema()
    assert len(components) == len(STRUCTS) > 60
    assert set(components) == {kind.__name__ for kind in STRUCTS}
    assert not [kind.__name__ for kind in STRUCTS if not vars(kind).get("__doc__")]
    assert not [kind.__name__ for kind in STRUCTS if not kind.__struct_config__.frozen]


def test_every_field_has_a_type() -> None:
    bare = [
        f"{name}.{field}"
        for name, component in schema().items()
        for field, about in component["properties"].items()
        if not about.keys() & {"type", "anyOf", "$ref", "allOf"}
    ]
    assert not bare


def test_the_schema_lists_the_words_and_a_reader_takes_others() -> None:
    told = schema()["Check"]["properties"]["result"]
    assert told["enum"] == [result.value for result in Result]
    words = import_module("coordinator.api.responses.words")
    assert msgspec.json.decode(b'"of-later"', type=words.ResultWord) == "of-later"


def test_they_import_the_domain_alone() -> None:
    code = (
        f"import sys, {', '.join(MODULES)}\n"
        "rooms = {'aiohttp', 'structlog', 'yaml', 'wire', 'probes', 'agent', 'cli', 'lab', 'prometheus_client'}\n"
        "print(sorted(name for name in sys.modules if name in rooms or name.startswith('coordinator.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted({"coordinator.api", responses.__name__, *MODULES}))
