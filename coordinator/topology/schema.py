"""A document checked against a shipped JSON Schema, and its errors in our own words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from coordinator.topology.document import LONGEST_SHOWN, Document, Place, Problem, Where, shown
from coordinator.topology.scalars import FORMATS
from reachability.texts import printable
from reachability.topology import Mark

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

MOST_ERRORS = 200
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
}
_KINDS = {"environments": "environment", "agents": "agent", "services": "service"}
_LISTS = {
    "paths": ("path", "name"),
    "waivers": ("waiver", "id"),
    "blackout": ("blackout", ""),
    "known": ("entry", "finding"),
}


@dataclass(frozen=True, slots=True)
class _Failure:
    """What jsonschema found: which rule of the schema, with which limit, an instance does not keep."""

    where: Where
    rule: str
    limit: Any
    instance: Any
    schema: Mapping[str, Any]
    of_key: bool
    message: str
    cause: Exception | None
    noun: str  # of the file: topology, baseline


@cache
def schema(noun: str = "topology") -> Mapping[str, Any]:
    """The JSON Schema that the package ships for such a file."""
    read: Mapping[str, Any] = json.loads(files("coordinator").joinpath(f"{noun}.schema.json").read_text("utf-8"))
    return read


def check(document: Document, noun: str = "topology") -> Iterator[Problem]:
    """Every way in which the document does not fit the schema of such a file, at most `MOST_ERRORS`."""
    found = 0
    for error in _validator(noun).iter_errors(document.data):
        for problem in _problems(_failure(error, noun), document):
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


def named(where: Where, data: Any, noun: str = "topology") -> str:
    """What a person would call the mapping or list at this place: `service 'feature-store' of 'prod'`."""
    words = f"the {noun}"
    match where:
        case ("environments", name):
            words = f"environment {shown(name)}"
        case ("environments", environment, ("agents" | "services") as kind, name):
            words = f"{_KINDS[kind]} {shown(name)} of {shown(environment)}"
        case (("paths" | "waivers" | "known") as kind, int(index)) | ("probing", "blackout" as kind, int(index)):
            noun, key = _LISTS[kind]
            given = data[kind][index].get(key) if key and isinstance(data[kind][index], dict) else None
            words = f"{noun} {shown(given)}" if isinstance(given, str) else f"{noun} {index + 1}"
        case (*around, int(index)):
            words = f"item {index + 1} of {named(tuple(around), data)}"
        case (str(alone),):
            words = shown(alone)
        case ("probing", str(inner)):
            words = f"'probing.{inner}'"
        case (*around, last):
            words = f"{shown(last)} of {named(tuple(around), data)}"
    return words


def nearest(word: str, known: Iterator[str] | list[str]) -> str:
    """`; did you mean '...'?` where something known is near, else nothing."""
    near = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


@cache
def _validator(noun: str) -> Validator:
    # Here, so that an install without it prints the help of every verb.
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415
    from jsonschema.validators import extend  # noqa: PLC0415

    checker = FormatChecker(formats=())
    for name, parse in FORMATS.items():
        checker.checks(name, raises=ValueError)(
            lambda value, parse=parse: not isinstance(value, str) or bool(parse(value))
        )
    extended: Callable[..., Any] = extend
    rules = {"uniqueItems": _unique, "pattern": _pattern}
    validator: Validator = extended(Draft202012Validator, rules)(schema(noun), format_checker=checker)
    return validator


def _failure(error: ValidationError, noun: str) -> _Failure:
    """The one place where jsonschema's types, which are for errors that are still being made, become ours."""
    return _Failure(
        where=tuple(error.absolute_path),
        rule=str(error.validator),
        limit=error.validator_value,
        instance=error.instance,
        schema=cast("Mapping[str, Any]", error.schema),
        of_key="propertyNames" in error.absolute_schema_path,
        message=error.message,
        cause=error.cause,
        noun=noun,
    )


def _problems(failure: _Failure, document: Document) -> Iterator[Problem]:
    where = failure.where
    name = named(where, document.data, failure.noun)
    here = mark_of(document, where)
    match failure.rule:
        case "additionalProperties":
            yield from _unknown_keys(failure, document, name)
        case "required":
            yield from _missing_keys(failure, name, mark_of(document, where, key=True))
        case "pattern" | "maxLength" if failure.of_key:
            mark = mark_of(document, (*where, failure.instance), key=True)
            yield Problem(mark.line, mark.column, _bad_name(_KINDS.get(str(where[-1]), "name"), failure.instance))
        case "pattern":
            yield Problem(here.line, here.column, f"{name} is {shown(failure.instance)}; {_described(failure)}")
        case "format":
            yield Problem(here.line, here.column, f"{name}: {failure.cause}")
        case "type" if "enum" in failure.schema:
            pass  # the enum says what it must be
        case "minimum" | "maximum" if not float(failure.instance).is_integer():
            pass  # the type says that it must be whole
        case "type":
            given = _given(failure.instance)
            yield Problem(here.line, here.column, f"{name} must be {_wanted(failure)}, not {given}")
        case "enum":
            known = [str(value) for value in failure.limit]
            hint = nearest(failure.instance, known) if isinstance(failure.instance, str) else ""
            choice = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
            given, hint = (shown(failure.instance), hint) if known == failure.limit else (_given(failure.instance), "")
            yield Problem(here.line, here.column, f"{name} is {given}; it must be {choice}{hint}")
        case "uniqueItems":
            yield from _twice(failure, document, name)
        case _:
            yield Problem(here.line, here.column, f"{name} {_other(failure)}")


def _unknown_keys(failure: _Failure, document: Document, name: str) -> Iterator[Problem]:
    known = list(failure.schema["properties"])
    for key in failure.instance:
        if key not in known:
            mark = mark_of(document, (*failure.where, key), key=True)
            hint = nearest(key, known) or f"; known are {', '.join(known)}"
            yield Problem(mark.line, mark.column, f"unknown key {shown(key)} in {name}{hint}")


def _missing_keys(failure: _Failure, name: str, mark: Mark) -> Iterator[Problem]:
    # jsonschema reports each missing key as an error of its own, and names it only in its message.
    for key in failure.limit:
        if key not in failure.instance and failure.message.startswith(f"'{key}' "):
            verb = "lacks" if failure.where else "lacks the key"
            yield Problem(mark.line, mark.column, f"{name} {verb} '{key}': {_describe(failure, key)}")


def _twice(failure: _Failure, document: Document, name: str) -> Iterator[Problem]:
    for index, item in _repeated(failure.instance):
        mark = mark_of(document, (*failure.where, index))
        yield Problem(mark.line, mark.column, f"{shown(item)} appears twice in {name}; take one out")


def _repeated(listed: list[Any]) -> Iterator[tuple[int, str]]:
    """The texts that come before in the list. Only texts may be in our lists; all else is an error of its own."""
    seen: set[str] = set()
    for index, item in enumerate(listed):
        if isinstance(item, str):
            if item in seen:
                yield index, item
            seen.add(item)


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """`pattern`, where `$` is the end as ECMAScript has it: in Python's `re` a line end may follow it."""
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415

    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError("does not fit the pattern")


def _unique(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    """`uniqueItems` in one pass: jsonschema's own compares each mapping with each, which a hostile file makes last."""
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415

    if wanted and isinstance(instance, list) and any(_repeated(instance)):
        yield ValidationError("has an item twice")


def _other(failure: _Failure) -> str:
    limit = failure.limit
    match failure.rule:
        case "minimum":
            return f"is {shown(failure.instance)}; it must be at least {limit}"
        case "maximum":
            return f"is {shown(failure.instance)}; it must be at most {limit}"
        case "minItems" | "minProperties":
            return "is empty; name at least one"
        case "maxLength":
            return f"is longer than {limit} characters; shorten it"
    return f"does not fit: {failure.message[:200]}"


def _bad_name(kind: str, name: str) -> str:
    limit = schema()["$defs"]["name"]["maxLength"]
    if len(name) > limit:
        return f"{kind} name {shown(name)} is longer than {limit} characters; shorten it"
    fixed = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in name.lower()).strip("-")
    hint = f"; did you mean {shown(fixed)}?" if fixed[:1].isalpha() else ""
    return f"{kind} name {shown(name)} must be lower-case letters, digits and hyphens, beginning with a letter{hint}"


def _described(failure: _Failure) -> str:
    text = str(failure.schema.get("description", "it does not fit")).rstrip(".")
    label = schema(failure.noun)["$defs"]["label"]
    if failure.schema.get("pattern") == label["pattern"]:
        text = label["description"].rstrip(".")
    return "it must be " + text[:1].lower() + text[1:]


def _wanted(failure: _Failure) -> str:
    types = failure.limit if isinstance(failure.limit, list) else [failure.limit]
    wanted = " or ".join(_TYPES[name] for name in types if name != "null")
    if "array" in types and isinstance(failure.instance, str):
        return f"{wanted} such as [{printable(failure.instance[:LONGEST_SHOWN])}]"
    if required := failure.schema.get("required"):
        return f"{wanted} with {', '.join(required)}"
    example = (failure.schema.get("examples") or [None])[0]
    return f"{wanted} such as {example}" if isinstance(example, str) else wanted


def _given(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return shown(value)
    return f"the text {shown(value)}" if isinstance(value, str) else shown(value)


def _describe(failure: _Failure, key: str) -> str:
    found = failure.schema["properties"][key]
    text = str(found.get("description") or _resolved(found, failure.noun).get("description", "")).rstrip(".")
    return text[:1].lower() + text[1:]


def _resolved(subschema: Mapping[str, Any], noun: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (
        schema(noun)["$defs"][subschema["$ref"].rpartition("/")[2]] if "$ref" in subschema else subschema
    )
    return found
