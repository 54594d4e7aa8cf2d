"""Loading and writing a baseline file: all of its errors at once, each as `file:line:column: message`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from coordinator.topology.build import entries, mapping
from coordinator.topology.document import Document, Problem, UnreadableError, resolved, shown
from coordinator.topology.load import FileErrors, read_bytes, read_document
from coordinator.topology.scalars import parse_host, parse_instant, parse_ports
from coordinator.topology.schema import check, mark_of
from reachability.baseline import Baseline, Entry
from reachability.fold import Kind
from reachability.topology import PortSpec

NOUN = "baseline"
_HEAD = """\
# What `segwatch verify --baseline` knows to fail: it fails only on what is not here, or has ended.
# Written by `segwatch verify --write-baseline`; docs/pipeline.md says what the keys mean.
"""


class BaselineErrors(FileErrors):
    """A baseline that cannot be used."""


def load_baseline(path: str | os.PathLike[str]) -> Baseline:
    """Read and check the baseline of a file.

    Raises:
        BaselineErrors: with every error that can be seen at once.
    """
    file = os.fspath(path)
    try:
        return parse_baseline(read_bytes(Path(file), NOUN), file)
    except UnreadableError as error:
        raise BaselineErrors(file, [error.problem]) from error


def parse_baseline(content: bytes, file: str = "baseline.yaml") -> Baseline:
    """As `load_baseline`, for the bytes of a file; `file` stands before each error."""
    try:
        document = read_document(content, NOUN)
    except UnreadableError as error:
        raise BaselineErrors(file, [error.problem]) from error
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        given = "the file is empty" if document.data is None else f"this is {shown(document.data)}"
        mark = mark_of(document, ())
        what = f"{given}; a baseline is a mapping that begins with 'version: 1'"
        raise BaselineErrors(file, [*problems, Problem(mark.line, mark.column, what)])
    problems += check(document, NOUN)
    if problems:
        raise BaselineErrors(file, problems)
    known = entries(mapping(document.data).get("known"))
    return Baseline(tuple(_entry(document, index, data) for index, data in known), file)


def baseline_text(baseline: Baseline) -> str:
    """The file that `parse_baseline` reads back as these entries."""
    data = {"version": 1, "known": [_plain(entry) for entry in baseline.entries]}
    dumped: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return _HEAD + dumped


class _Dumper(yaml.SafeDumper):
    """Quotes what our reader would take for a number: PyYAML writes YAML 1.1, to which `0E0` is a text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolved(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _entry(document: Document, index: int, data: Mapping[str, Any]) -> Entry:
    ports = PortSpec()
    for text in data["ports"]:
        ports |= parse_ports(text)
    return Entry(
        kind=Kind(data["kind"]),
        source=data["from"],
        destination=data["to"],
        agents=tuple(data.get("agents", ())),
        addresses=tuple(parse_host(text) for text in data["addresses"]),
        ports=ports,
        owner=data["owner"],
        expires=parse_instant(data["expires"]),
        finding=data.get("finding", ""),
        justification=data.get("justification", ""),
        mark=mark_of(document, ("known", index)),
    )


def _plain(entry: Entry) -> dict[str, Any]:
    pairs: dict[str, Any] = {
        "finding": entry.finding,
        "kind": entry.kind.value,
        "from": entry.source,
        "agents": list(entry.agents),
        "to": entry.destination,
        "addresses": list(entry.addresses),
        "ports": str(entry.ports).split(),
        "owner": entry.owner,
        "justification": entry.justification,
        "expires": f"{entry.expires:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {name: value for name, value in pairs.items() if value}
