"""What is kept of a scenario, and what the pure part of the product makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from coordinator.api.views import cell_body, coverage_body, findings
from coordinator.topology.load import load_topology
from reachability.compare import compare, in_scope
from reachability.evidence import conclude
from reachability.finding import FindingBook
from reachability.matrix import Judged, Matrix
from reachability.plan import build_plan
from reachability.round_data import RoundData
from reachability.verdict import judge
from tests.support.answers import json_of
from wire.codec import dec_hook, enc_hook

HERE = Path(__file__).parent
TOPOLOGY, OBSERVATIONS, FINDINGS = "topology.yaml", "observations.json", "findings.json"
INTO = "prod"  # the environment that is probed: three times as much would show no more
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
Group = list[RoundData]  # a round and its follow-ups
_TIMES = {"id", "first_seen", "last_seen", "observed_at"}


def read(folder: Path) -> list[Group]:
    """The observations of a scenario."""
    return msgspec.json.decode((folder / OBSERVATIONS).read_bytes(), type=list[Group], dec_hook=dec_hook)


def write(folder: Path, topology: str, groups: Sequence[Group]) -> None:
    """Keep a topology and what was observed under it: a line a report, so that a diff can be read."""
    folder.mkdir(exist_ok=True)
    (folder / TOPOLOGY).write_text(topology, "utf-8")
    lines = ["[", *_joined(_group(group) for group in groups), "]", ""]
    (folder / OBSERVATIONS).write_text("\n".join(lines), "utf-8")


def judged(folder: Path) -> dict[str, Any]:
    """Cells, coverage and findings, without times and ids."""
    topology = load_topology(str(folder / TOPOLOGY))
    plan = tuple(in_scope(build_plan(topology, {}, {}), sweep=False, source=None, destination=INTO))
    matrix, book = Matrix(), FindingBook(())
    for rounds in read(folder):
        spec = rounds[0].spec
        for key, ports, evidence in conclude(rounds).cells:
            found = Judged(
                evidence=evidence, verdict=judge(evidence), round=spec.round, run=spec.run, observed_at=NOW.timestamp(),
                schedule=spec.schedule,
            )  # fmt: skip
            matrix.update(key, ports, found)
    cells = compare(topology, plan, matrix, NOW)
    book.apply(cells, NOW, topology.probing.confirm)
    return {
        "coverage": json_of(coverage_body(topology, cells))["coverage"],
        "findings": [_plain(finding) for finding in json_of(findings(topology, book.findings))],
        "cells": [_plain(json_of(cell_body(cell))) for cell in cells],
    }


def as_text(found: dict[str, Any]) -> str:
    """A line a finding and a cell."""
    parts = [f'"coverage": {found["coverage"]}']
    for name in ("findings", "cells"):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in found[name])
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _TIMES}


def _group(group: Group) -> str:
    return "[\n" + ",\n".join(msgspec.json.encode(_told(data), enc_hook=enc_hook).decode() for data in group) + "\n]"


def _told(value: Any) -> Any:
    """The fields of a value that are not what they are by default."""
    if is_dataclass(value):
        told = {each.name: getattr(value, each.name) for each in fields(value)}
        return {each.name: _told(told[each.name]) for each in fields(value) if told[each.name] != each.default}
    if isinstance(value, tuple | list):
        return [_told(each) for each in value]
    return value


def _joined(texts: Iterable[str]) -> list[str]:
    return [",\n".join(texts)]
