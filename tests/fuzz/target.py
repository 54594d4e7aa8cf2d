"""What a fuzz target is: a parser, what it is fed, and the faults that must not escape it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any

CORPUS = Path(__file__).with_name("corpus")


class Shape(StrEnum):
    """How inputs are mutated beside byte by byte."""

    BYTES = "bytes"
    MSGPACK = "msgpack"
    TEXT = "text"


@dataclass(frozen=True)
class Fault:
    """A fault to seed: in a function, one text of its source in place of another."""

    function: str  # "wire.envelope:unseal", "probes.child.protocol:Unframer.feed"
    old: str
    new: str

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """The function as it would be with the fault, for everybody who has it already."""
        module_name, _, name = self.function.partition(":")
        module = importlib.import_module(module_name)
        assert module.__file__ is not None
        source = Path(module.__file__).read_text(encoding="utf-8")
        assert source.count(self.old) == 1, f"{self.function}: {self.old!r} is there {source.count(self.old)} times"
        faulty = _code(compile(source.replace(self.old, self.new), module.__file__, "exec"), name)
        function: Any = module
        for part in name.split("."):
            function = getattr(function, part)
        function = getattr(function, "__func__", getattr(function, "__wrapped__", function))
        caches = [
            held.cache_clear
            for held in vars(module).values()
            if hasattr(held, "cache_clear") and not isinstance(held, type)
        ]
        sound, function.__code__ = function.__code__, faulty
        try:
            yield
        finally:
            function.__code__ = sound
            for clear in caches:
                clear()


@dataclass(frozen=True)
class Target:
    """A parser under test.

    `run` takes bytes and raises for whatever the parser must not do. `parser` names what it has to reach: a file to its
    functions. `share` is how much of all executions it gets.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    parser: Mapping[str, tuple[str, ...]]
    faults: tuple[Fault, ...]
    shape: Shape = Shape.BYTES
    words: tuple[bytes, ...] = ()
    share: int = 10
    most: int = 4096  # bytes of an input

    @cached_property
    def inputs(self) -> list[bytes]:
        """The seeds, then the corpus."""
        return list(dict.fromkeys((*self.seeds(), *read_corpus(self.name))))


def read_corpus(name: str) -> list[bytes]:
    """The inputs that were kept: one a line, as Python writes bytes; lines that begin with # say what they found."""
    path = CORPUS / f"{name}.txt"
    if not path.exists():
        return []
    lines = path.read_text(encoding="ascii").splitlines()
    return [_unescaped(line) for line in lines if line and not line.startswith("#")]


def escaped(data: bytes) -> str:
    """As a line of a corpus."""
    return (
        re.sub(rb"[^\x21-\x5b\x5d-\x7e]", lambda match: b"\\x%02x" % match[0][0], data)
        .decode("ascii")
        .replace("#", "\\x23")
    )


def _unescaped(line: str) -> bytes:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), line).encode("latin-1")


def _code(module: CodeType, name: str) -> CodeType:
    found = module
    for part in name.split("."):
        found = next(code for code in found.co_consts if isinstance(code, CodeType) and code.co_name == part)
    return found
