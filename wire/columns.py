"""Reports as they travel: each table of rows is turned into columns, a third of the size and quicker to compress.

A column is a list under its field's name; a field that holds its default in every row is left out, an unknown one is
ignored. Rows and reports are the domain's own dataclasses: a field added there travels with no change here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from reachability.observation import SourceReport, WitnessReport
from wire.messages import Batch

# Scalars and lists of numbers only, so that a hostile message of 16 MiB does not make a gigabyte of objects.
Column = list[int | float | str | bool | list[int] | None]
Columns = dict[str, Column]
MOST_ROWS = 1_000_000
Report = TypeVar("Report", SourceReport, WitnessReport)


def _tables(report: type) -> dict[str, type]:
    """The fields of a report that hold rows, and the type of a row."""
    hints = get_type_hints(report)
    return {
        name: get_args(hint)[0]
        for name, hint in hints.items()
        if get_args(hint)[1:] == (...,) and hasattr(get_args(hint)[0], "__dataclass_fields__")
    }


def _on_wire(report: type) -> Any:
    """The struct that stands for a report on the wire."""
    hints, tables = get_type_hints(report), _tables(report)
    defined: list[Any] = []
    for field in fields(report):
        if field.name in tables:
            defined.append((field.name, Columns, msgspec.field(default_factory=dict)))
        elif field.default_factory is not MISSING:
            defined.append((field.name, hints[field.name], msgspec.field(default_factory=field.default_factory)))
        elif field.default is not MISSING:
            defined.append((field.name, hints[field.name], field.default))
        else:
            defined.append((field.name, hints[field.name]))
    return msgspec.defstruct(f"{report.__name__}OnWire", defined, kw_only=True, omit_defaults=True)


_TABLES = {report: _tables(report) for report in (SourceReport, WitnessReport)}
_WIRE: dict[type, Any] = {report: _on_wire(report) for report in (SourceReport, WitnessReport)}

BatchOnWire: Any = msgspec.defstruct(
    "BatchOnWire",
    [
        ("spool", str),
        ("sequence", int),
        ("age_s", float),
        ("oldest", int, 1),
        ("sources", tuple.__class_getitem__((_WIRE[SourceReport], ...)), ()),
        ("witnesses", tuple.__class_getitem__((_WIRE[WitnessReport], ...)), ()),
    ],
    kw_only=True,
    tag="batch",
)


def encode_reports(reports: Sequence[SourceReport] | Sequence[WitnessReport]) -> bytes:
    """Msgpack of the reports, as a `BatchOnWire` holds them."""
    return msgspec.msgpack.encode([_pack(report) for report in reports])


def encode_batch(batch: Batch) -> bytes:
    """Msgpack of a whole batch."""
    sources, witnesses = (msgspec.Raw(encode_reports(part)) for part in (batch.sources, batch.witnesses))
    return encode_spooled(
        batch.spool, batch.sequence, age_s=batch.age_s, oldest=batch.oldest, sources=sources, witnesses=witnesses
    )


def encode_spooled(
    spool: str, sequence: int, *, age_s: float, oldest: int, sources: msgspec.Raw, witnesses: msgspec.Raw
) -> bytes:
    """Msgpack of a batch whose reports are encoded already."""
    return msgspec.msgpack.encode(
        {
            "type": "batch",
            "spool": spool,
            "sequence": sequence,
            "age_s": age_s,
            "oldest": oldest,
            "sources": sources,
            "witnesses": witnesses,
        }
    )


def read_batch(batch: Any) -> Batch:
    """The batch that a decoded `BatchOnWire` stands for; ValueError for columns that make no rows."""
    return Batch(
        spool=batch.spool,
        sequence=batch.sequence,
        age_s=batch.age_s,
        oldest=batch.oldest,
        sources=tuple(_unpack(report, SourceReport) for report in batch.sources),
        witnesses=tuple(_unpack(report, WitnessReport) for report in batch.witnesses),
    )


def _pack(report: SourceReport | WitnessReport) -> Any:
    kind = type(report)
    tables = _TABLES[kind]
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return _WIRE[kind](**{name: _columns(value) if name in tables else value for name, value in values.items()})


def _unpack(packed: Any, kind: type[Report]) -> Report:
    values = {name: getattr(packed, name) for name in packed.__struct_fields__}
    for name, row in _TABLES[kind].items():
        values[name] = _rows(values[name], row)
    return kind(**values)


def _columns(rows: Sequence[Any]) -> Columns:
    if not rows:
        return {}
    columns = {}
    for field in fields(rows[0]):
        values = [getattr(row, field.name) for row in rows]
        if field.default is MISSING or any(value != field.default for value in values):
            # Bytes go as base64, as msgspec reads them again: a column holds either bytes or text, never a choice of both.
            columns[field.name] = msgspec.to_builtins(values) if isinstance(values[0], bytes) else values
    return columns


def _rows(columns: Columns, row: type) -> tuple[Any, ...]:
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns of {row.__name__} differ in length")
    if lengths and max(lengths) > MOST_ROWS:
        raise ValueError(f"more than {MOST_ROWS} rows of {row.__name__}")
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return msgspec.convert(records, type=tuple[row, ...])  # type: ignore[valid-type]
