"""YAML to plain values with the place of each: no tags, no recursion, and bounds that a hostile file meets early.

It reads the core schema of YAML 1.2: `yes`, dates and sexagesimals are texts, so that nothing turns into what nobody
wrote. Anchors work within the bound on values; merge keys do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import yaml

from reachability.texts import printable
from reachability.topology import Mark

MOST_VALUES = 1_000_000  # of a file of 100,000 lines
MOST_PROBLEMS = 200
CHARACTERS_A_VALUE = 100  # a longer text counts as several values: repeated by aliases it costs as much as they do
DEEPEST = 32
LONGEST_SHOWN = 60

Where = tuple[str | int, ...]
"""The way from the root to a value: keys and list indexes."""

_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = {"!", *(_CORE + name for name in ("str", "int", "float", "bool", "null"))}
_PLAIN: tuple[tuple[re.Pattern[str], type[Any]], ...] = (
    (re.compile(r"[-+]?[0-9]{1,18}"), int),
    (re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?"), float),
)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TOO_DEEP = f"nested deeper than {DEEPEST} levels; look for brackets that are not closed"
_LIBRARYS_DEPTH = "exceeded maximum nesting depth"
# What the two scanners of PyYAML say, and what a person can do about it.
_ADVICE = (
    (_LIBRARYS_DEPTH, _TOO_DEEP),
    ("mapping values are not allowed", "a second ': ' in one line; put the value in quotes, or on lines of its own"),
    ("unexpected end of stream", "the file ends inside a quoted text; close the quote"),
    ("tab", "a tab cannot indent YAML; use spaces"),
    ("cannot start any token", "{character} cannot start a value; put it in quotes"),
    ("incompatible YAML document", "only YAML 1 is read; take out the line with %YAML"),
    ("undefined tag handle", "tags are not allowed; take it out"),
    ("unknown escape character", "this is not an escape that a text in double quotes can have; use single quotes"),
    ("expected node content", "a value is missing here, a comma is too many, or a bracket is not closed"),
    ("did not find expected ','", "a comma or a closing bracket is missing before this"),
    ("could not find expected ':'", "a key without a colon; write key: value, in one line of at most 1024 characters"),
    (
        "did not find expected <document start>",
        "this belongs to nothing above it; take it out, or indent it like the rest",
    ),
    ("did not find expected key", "this fits nothing above it; indent it like its neighbours"),
    ("did not find expected '-'", "this fits nothing above it; indent it like its neighbours"),
)


class Problem(NamedTuple):
    """Something wrong with a file, and where; lines and columns count from 1, 0 is the file as a whole."""

    line: int
    column: int
    message: str


class UnreadableError(Exception):
    """The file cannot be taken apart any further; `problem` says where it ended."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Place(NamedTuple):
    """Where a key (for a list's item: the item) and its value stand."""

    key: Mark
    value: Mark


@dataclass(slots=True)
class Document:
    """The plain value of a file, where its parts stand, and what was wrong without being fatal."""

    data: Any = None
    places: dict[Where, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    mark: Mark
    value: Any = None  # of a scalar
    items: list[_Node] | None = None
    pairs: dict[str, tuple[Mark, _Node]] | None = None
    size: int = 1  # values within, aliases written out
    height: int = 0


@dataclass(slots=True)
class _Open:
    """A collection that has begun and not ended. `key` is None where the next node is a key."""

    node: _Node
    anchor: str | None
    flow: bool
    key: tuple[str, Mark, bool] | None = None  # text, place, whether its value counts


def read_yaml(text: str, noun: str = "topology") -> Document:
    """Take a text apart; `noun` is what messages call it.

    Raises:
        UnreadableError: at the first thing that hides all that follows, such as a syntax error or a bound exceeded.
    """
    composer = _Composer(text, noun)
    root = composer.compose()
    document = Document(problems=composer.problems)
    if root is not None:
        document.data = _plain(root, root.mark, (), document.places)
    return document


def shown(value: Any) -> str:
    """A value as messages quote it: short, and with nothing in it that a terminal would obey."""
    if isinstance(value, str):
        clipped = value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
        return f"'{printable(clipped)}'"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else ("a list" if isinstance(value, list) else "a mapping")


class _Composer:
    """Builds nodes from the parser's events with a stack of its own, so that depth costs nothing."""

    def __init__(self, text: str, noun: str) -> None:
        self.text = text
        self.noun = noun
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Node] = {}
        self.stack: list[_Open] = []
        self.root: _Node | None = None
        self.values = 0

    def compose(self) -> _Node | None:
        documents = 0
        try:
            for event in yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                match event:
                    case yaml.DocumentStartEvent():
                        documents += 1
                        if documents > 1:
                            self._stop(
                                event.start_mark,
                                f"a second document begins here; a {self.noun} is only one: take the rest out",
                            )
                    case yaml.ScalarEvent():
                        self._attach(self._scalar(event), event.anchor, event.value)
                    case yaml.AliasEvent():
                        self._alias(event)
                    case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                        self._begin(event)
                    case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                        self._end(event)
                    case _:
                        pass
        except yaml.MarkedYAMLError as error:
            ahead = error.problem_mark.index if error.problem_mark and _LIBRARYS_DEPTH in str(error.problem) else 0
            if 0 < ahead < len(self.text):
                _Composer(self.text[:ahead], self.noun).compose()  # libyaml reads ahead: what is before meets our bound
            raise UnreadableError(self._syntax(error)) from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise UnreadableError(Problem(1, 1, f"not valid YAML: {error}".splitlines()[0])) from error
        return self.root

    def _stop(self, mark: Any, message: str) -> NoReturn:
        raise UnreadableError(Problem(mark.line + 1, mark.column + 1, message))

    def _count(self, mark: Any, size: int) -> None:
        self.values += size
        if self.values > MOST_VALUES:
            message = f"more than {MOST_VALUES} values, its aliases written out; take out aliases, or name another file"
            self._stop(mark, message)

    def _scalar(self, event: Any) -> _Node:
        last = event.end_mark.line + (1 if event.end_mark.column or event.end_mark.line == event.start_mark.line else 0)
        node = _Node(Mark(event.start_mark.line + 1, event.start_mark.column + 1, last), event.value)
        node.size = 1 + len(event.value) // CHARACTERS_A_VALUE
        self._count(event.start_mark, node.size)
        if event.tag is not None and event.tag not in _SCALAR_TAGS:
            self._problem(node.mark, _tag_message(event.tag, self.noun))
        elif (event.tag is None and event.implicit[0]) or event.tag in _SCALAR_TAGS - {"!", _CORE + "str"}:
            node.value = resolved(event.value)
        if control := _CONTROL.search(event.value):
            self._problem(node.mark, f"this text holds the control character U+{ord(control[0]):04X}; take it out")
            node.value = _CONTROL.sub("?", event.value)
        return node

    def _alias(self, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            self._stop(
                event.start_mark,
                f"alias {shown(event.anchor)} has no anchor that is complete here; write the value out",
            )
        self._count(event.start_mark, node.size)
        if len(self.stack) + node.height > DEEPEST:
            self._stop(event.start_mark, f"nested deeper than {DEEPEST} levels by its aliases; write the values out")
        self._attach(node, None, node.value if isinstance(node.value, str) else None)

    def _begin(self, event: Any) -> None:
        is_list = isinstance(event, yaml.SequenceStartEvent)
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1, event.start_mark.line + 1)
        self._count(event.start_mark, 1)
        if event.tag not in {None, "!", _CORE + ("seq" if is_list else "map")}:
            self._problem(mark, _tag_message(event.tag, self.noun))
        if len(self.stack) >= DEEPEST:
            self._stop(event.start_mark, _TOO_DEEP)
        node = _Node(mark, items=[]) if is_list else _Node(mark, pairs={})
        self.stack.append(_Open(node, event.anchor, bool(event.flow_style)))

    def _end(self, event: Any) -> None:
        done = self.stack.pop()
        node = done.node
        children = node.items if node.items is not None else [child for _, child in (node.pairs or {}).values()]
        last = event.end_mark.line + 1 if done.flow else max((c.mark.end_line for c in children), default=0)
        node.mark = Mark(node.mark.line, node.mark.column, max(last, node.mark.line))
        node.size = 1 + sum(child.size for child in children)
        node.height = 1 + max((child.height for child in children), default=0)
        self._attach(node, done.anchor, None)

    def _attach(self, node: _Node, anchor: str | None, text: str | None) -> None:
        """Put a complete node where it belongs; `text` is what a scalar looked like, for keys."""
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.node.items is not None:
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = self._key(parent, node, text)
        else:
            key, mark, counts = parent.key
            parent.key = None
            if counts and parent.node.pairs is not None:
                parent.node.pairs[key] = (mark, node)

    def _key(self, parent: _Open, node: _Node, text: str | None) -> tuple[str, Mark, bool]:
        first = (parent.node.pairs or {}).get(text or "")
        if text is None:
            self._problem(node.mark, "a key must be a plain name, not a list, a mapping or an alias of one")
        elif text == "<<":
            self._problem(node.mark, "merge keys ('<<') are not supported; write the keys out")
        elif first is not None:
            self._problem(node.mark, f"duplicate key {shown(text)}; the first is on line {first[0].line}: take one out")
        else:
            return text, node.mark, True
        return "", node.mark, False

    def _problem(self, mark: Mark, message: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(mark.line, mark.column, message))

    def _syntax(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        lines = self.text.split("\n")
        character = lines[line][column : column + 1] if line < len(lines) else ""
        problem = "tab" if character == "\t" else str(error.problem or "syntax error")
        message = next((advice for needle, advice in _ADVICE if needle in problem), f"not valid YAML: {problem}")
        begun = error.context_mark
        if begun is not None and begun.line != line:
            message += f" (in what begins on line {begun.line + 1})"
        return Problem(line + 1, column + 1, message.replace("{character}", shown(character)))


def resolved(text: str) -> Any:
    """The value of a plain scalar. A whole number of more than 18 digits stays a text: nothing here is that large."""
    if (word := text.lower()) in _WORDS or text[0].isalpha():
        return _WORDS.get(word, text)
    return next((kind(text) for pattern, kind in _PLAIN if pattern.fullmatch(text)), text)


def _tag_message(tag: str, noun: str) -> str:
    return f"tag {shown(tag.replace(_CORE, '!!'))} is not allowed; a {noun} is plain mappings, lists and texts"


def _plain(node: _Node, key: Mark, where: Where, places: dict[Where, Place]) -> Any:
    places[where] = Place(key, node.mark)
    if node.items is not None:
        return [_plain(item, item.mark, (*where, index), places) for index, item in enumerate(node.items)]
    if node.pairs is not None:
        return {name: _plain(child, mark, (*where, name), places) for name, (mark, child) in node.pairs.items()}
    return node.value
