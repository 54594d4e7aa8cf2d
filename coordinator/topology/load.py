"""Loading a topology file: all of its errors at once, each as `file:line:column: message`, and never a traceback."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from coordinator.topology.build import build
from coordinator.topology.consistency import inconsistencies
from coordinator.topology.document import Document, Problem, UnreadableError, read_yaml, shown
from coordinator.topology.schema import check, mark_of
from reachability.plan_size import too_large
from reachability.texts import printable
from reachability.topology import Topology

MOST_BYTES = 16 * 1024 * 1024
NOUN = "topology"
# What YAML 1.2 (5.1) does not call printable.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class FileErrors(Exception):  # noqa: N818 - one exception, all the errors of a file
    """A file that cannot be used. `errors` has a line `file:line:column: message` for each error, in order.

    What a message quotes of the file has no line ends in it, and nothing else that a terminal would obey.
    """

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted({problem._replace(message=printable(problem.message)) for problem in problems}))
        self.errors = tuple(located(file, problem) for problem in self.problems)
        super().__init__("\n".join(self.errors))


class TopologyErrors(FileErrors):
    """A topology that cannot be used."""


def load_topology(path: str | os.PathLike[str]) -> Topology:
    """Read, check and build the topology of a file.

    Raises:
        TopologyErrors: with every error that can be seen at once; a file that cannot be opened or taken apart has one.
    """
    file = os.fspath(path)
    try:
        return parse_topology(read_bytes(Path(file), NOUN), file)
    except UnreadableError as error:
        raise TopologyErrors(file, [error.problem]) from error


def parse_topology(content: bytes, file: str = "topology.yaml") -> Topology:
    """As `load_topology`, for the bytes of a file; `file` stands before each error."""
    try:
        document = read_document(content, NOUN)
    except UnreadableError as error:
        raise TopologyErrors(file, [error.problem]) from error
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        start = "a topology is a mapping that begins with 'version: 1'"
        given = "the file is empty" if document.data is None else f"this is {shown(document.data)}"
        mark = mark_of(document, ())
        raise TopologyErrors(file, [*problems, Problem(mark.line, mark.column, f"{given}; {start}")])
    topology = build(document, file, hashlib.sha256(content).hexdigest())
    problems += check(document)
    problems += inconsistencies(document, topology)
    if problems:
        raise TopologyErrors(file, problems)
    if problem := too_large(topology):
        raise TopologyErrors(file, [Problem(0, 0, problem)])
    return topology


def located(file: str, problem: Problem) -> str:
    """`file:line:column: message`, or `file: message` for the file as a whole."""
    place = f"{problem.line}:{problem.column}: " if problem.line else " "
    return f"{printable(file)}:{place}{problem.message}"


def read_document(content: bytes, noun: str) -> Document:
    """The bytes of such a file (`topology`, `baseline`) taken apart; UnreadableError where that ends."""
    if len(content) > MOST_BYTES:
        message = f"larger than {MOST_BYTES // 1024 // 1024} MiB, which no {noun} is; name a {noun} file"
        raise UnreadableError(Problem(0, 0, message))
    return read_yaml(_decoded(content), noun)


def read_bytes(path: Path, noun: str) -> bytes:
    """The bytes of a regular file, at most one more than `MOST_BYTES`; a pipe could keep us waiting for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError(Problem(0, 0, f"not a regular file; name a {noun} file"))
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UnreadableError(Problem(0, 0, f"cannot be read: {why}; name a {noun} file")) from error
    except ValueError as error:
        raise UnreadableError(Problem(0, 0, f"cannot be read: no file has such a name; name a {noun} file")) from error


def _decoded(content: bytes) -> str:
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise UnreadableError(_place(before, message)) from error
    if forbidden := _FORBIDDEN.search(text):
        message = f"character U+{ord(forbidden[0]):04X} does not belong in a text file; take it out"
        raise UnreadableError(_place(text[: forbidden.start()], message))
    return text


def _place(before: str, message: str) -> Problem:
    """A problem at the end of what comes before it."""
    return Problem(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, message)
