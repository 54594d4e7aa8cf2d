"""The shipped JSON Schema held against a document, and its errors in the words of the house."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from coordinator.topology_values import FORMATS
from coordinator.topology_yaml import Document, Place, Problem, Where, shown
from reachability.topology import Mark

MOST_ERRORS = 200
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
}
_KINDS = {"environments": "environment", "agents": "agent", "services": "service"}
_LISTS = {"paths": ("path", "name"), "waivers": ("waiver", "id"), "blackout": ("blackout", "")}


def schema() -> Mapping[str, Any]:
    """The JSON Schema that the package ships."""
    read: Mapping[str, Any] = json.loads(files("coordinator").joinpath("topology.schema.json").read_text("utf-8"))
    return read


def check(document: Document) -> Iterator[Problem]:
    """Every way in which the document does not fit the schema, at most `MOST_ERRORS`."""
    found = 0
    for error in _validator().iter_errors(document.data):
        for problem in _problems(error, document):
            yield problem
            found += 1
            if found >= MOST_ERRORS:
                return


def mark_of(document: Document, where: Where, *, key: bool = False) -> Mark:
    """Where a value (or its key) stands; the nearest one around it where it has no place of its own."""
    while where not in document.places and where:
        where = where[:-1]
    place = document.places.get(where, Place(Mark(1, 1), Mark(1, 1)))
    return place.key if key else place.value


def named(where: Where, data: Any) -> str:
    """What a person would call the mapping or list at this place: `service 'feature-store' of 'prod'`."""
    if not where:
        return "the topology"
    match where:
        case ("environments", name):
            return f"environment {shown(name)}"
        case ("environments", environment, ("agents" | "services") as kind, name):
            return f"{_KINDS[kind]} {shown(name)} of {shown(environment)}"
        case (("paths" | "waivers") as kind, int(index)) | ("probing", "blackout" as kind, int(index)):
            noun, key = _LISTS[kind]
            name = data[kind][index].get(key) if key and isinstance(data[kind][index], dict) else None
            return f"{noun} {shown(name)}" if isinstance(name, str) else f"{noun} {index + 1}"
        case (*around, int(index)):
            return f"item {index + 1} of {named(tuple(around), data)}"
        case (str(alone),):
            return shown(alone)
        case ("probing", str(inner)):
            return f"'probing.{inner}'"
        case (*around, last):
            return f"{shown(last)} of {named(tuple(around), data)}"
    return "the topology"


def nearest(word: str, known: Iterator[str] | list[str]) -> str:
    """`; did you mean '...'?` where something known is near, else nothing."""
    near = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


@cache
def _validator() -> Draft202012Validator:
    checker = FormatChecker(formats=())
    for name, parse in FORMATS.items():
        checker.checks(name, raises=ValueError)(lambda value, parse=parse: not isinstance(value, str) or bool(parse(value)))
    return Draft202012Validator(schema(), format_checker=checker)


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    where: Where = tuple(error.absolute_path)
    name = named(where, document.data)
    here = mark_of(document, where)
    match error.validator:
        case "additionalProperties":
            yield from _unknown_keys(error, document, where, name)
        case "required":
            yield from _missing_keys(error, where, name, mark_of(document, where, key=True))
        case "pattern" | "maxLength" if "propertyNames" in error.absolute_schema_path:
            mark = mark_of(document, (*where, error.instance), key=True)
            yield Problem(mark.line, mark.column, _bad_name(_KINDS.get(str(where[-1]), "name"), error.instance))
        case "pattern":
            yield Problem(here.line, here.column, f"{name} is {shown(error.instance)}; {_described(error)}")
        case "format":
            yield Problem(here.line, here.column, f"{name}: {error.cause}")
        case "type":
            yield Problem(here.line, here.column, f"{name} must be {_wanted(error)}, not {_given(error.instance)}")
        case "enum":
            known = [str(value) for value in error.validator_value]
            hint = nearest(str(error.instance), known)
            choice = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
            yield Problem(here.line, here.column, f"{name} is {shown(error.instance)}; it must be {choice}{hint}")
        case "uniqueItems":
            yield from _twice(error, document, where, name)
        case _:
            yield Problem(here.line, here.column, f"{name} {_other(error)}")


def _unknown_keys(error: ValidationError, document: Document, where: Where, name: str) -> Iterator[Problem]:
    known = list(error.schema["properties"])
    place = " in the topology" if not where else f" in {name}"
    for key in error.instance:
        if key not in known:
            mark = mark_of(document, (*where, key), key=True)
            hint = nearest(key, known) or f"; known are {', '.join(known)}"
            yield Problem(mark.line, mark.column, f"unknown key {shown(key)}{place}{hint}")


def _missing_keys(error: ValidationError, where: Where, name: str, mark: Mark) -> Iterator[Problem]:
    # jsonschema reports each missing key as an error of its own, and names it only in its message.
    for key in error.validator_value:
        if key not in error.instance and error.message.startswith(f"'{key}' "):
            verb = "lacks" if where else "lacks the key"
            yield Problem(mark.line, mark.column, f"{name} {verb} '{key}': {_describe(error.schema, key)}")


def _twice(error: ValidationError, document: Document, where: Where, name: str) -> Iterator[Problem]:
    seen: list[Any] = []
    for index, item in enumerate(error.instance):
        if item in seen:
            mark = mark_of(document, (*where, index))
            yield Problem(mark.line, mark.column, f"{shown(item)} stands twice in {name}")
        seen.append(item)


def _other(error: ValidationError) -> str:
    limit = error.validator_value
    match error.validator:
        case "minimum":
            return f"is {shown(error.instance)}; it must be at least {limit}"
        case "maximum":
            return f"is {shown(error.instance)}; it must be at most {limit}"
        case "minItems" | "minProperties":
            return "is empty"
        case "maxLength":
            return f"is longer than {limit} characters"
    return f"does not fit: {error.message[:200]}"


def _bad_name(kind: str, name: str) -> str:
    limit = schema()["$defs"]["name"]["maxLength"]
    if len(name) > limit:
        return f"{kind} name {shown(name)} is longer than {limit} characters"
    fixed = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in name.lower()).strip("-")
    hint = f"; did you mean {shown(fixed)}?" if fixed[:1].isalpha() else ""
    return f"{kind} name {shown(name)} must be lower-case letters, digits and hyphens, beginning with a letter{hint}"


def _described(error: ValidationError) -> str:
    text = str(error.schema.get("description", "it does not fit")).rstrip(".")
    label = schema()["$defs"]["label"]
    if error.schema.get("pattern") == label["pattern"]:
        text = label["description"].rstrip(".")
    return "it must be " + text[:1].lower() + text[1:]


def _wanted(error: ValidationError) -> str:
    types = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = " or ".join(_TYPES[name] for name in types if name != "null")
    example = (error.schema.get("examples") or [None])[0]
    return f"{wanted} such as {example}" if isinstance(example, str) else wanted


def _given(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return shown(value)
    return f"the text {shown(value)}" if isinstance(value, str) else shown(value)


def _describe(subschema: Mapping[str, Any], key: str) -> str:
    found = subschema["properties"][key]
    text = str(found.get("description") or _resolved(found).get("description", "")).rstrip(".")
    return text[:1].lower() + text[1:]


def _resolved(subschema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema()["$defs"][subschema["$ref"].rpartition("/")[2]] if "$ref" in subschema else subschema
    return found
