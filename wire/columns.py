"""Reports as they travel: each table of rows is turned into columns, a third of the size and quicker to compress.

A column is a list under its field's name; a field that holds its default in every row is left out, an unknown one is
ignored. Rows and reports are the domain's own dataclasses: a field added there travels with no change here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from reachability.arrival import ArrivalRow, NoPortsGroup, WitnessReport
from reachability.observation import Observation, SourceReport
from wire.bounds import MOST_ITEMS, age_s, checked, checked_column
from wire.codec import decode, encode
from wire.messages import Batch, Gap

MOST_COLUMNS = 100  # of a table
# Left as bytes until their lengths are known, so that a hostile message of 16 MiB does not make a gigabyte of objects.
Columns = Annotated[dict[str, msgspec.Raw], msgspec.Meta(max_length=MOST_COLUMNS)]
MOST_ROWS = 300_000  # in a batch: a scanned host can make each port of a round look different
MOST_REPORTS = 64  # in a batch; an agent sends one
MOST_GAPS, MOST_WHY = 256, 64  # in a batch, in a gap
MOST_TIMES = 4  # that a table says something of one port: what concludes them then costs no more than there are ports
Report = TypeVar("Report", SourceReport, WitnessReport)


def _tables(report: type) -> dict[str, type]:
    """The fields of a report that hold rows, and the type of a row."""
    hints = get_type_hints(report)
    return {
        name: get_args(hint)[0]
        for name, hint in hints.items()
        if get_args(hint)[1:] == (...,) and hasattr(get_args(hint)[0], "__dataclass_fields__")
    }


def _bounded(hint: Any) -> Any:
    """A list or map is refused by its length before what is in it is read."""
    return Annotated[hint, msgspec.Meta(max_length=MOST_ITEMS)] if get_origin(hint) in {tuple, dict} else hint


def _on_wire(report: type) -> Any:
    """The struct that stands for a report on the wire."""
    hints, tables = {name: _bounded(hint) for name, hint in get_type_hints(report).items()}, _tables(report)
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
_CELLS = {row: get_type_hints(row) for tables in _TABLES.values() for row in tables.values()}
_ARRAY_BYTES = {0xDC: 2, 0xDD: 4}
_WIRE: dict[type, Any] = {report: _on_wire(report) for report in (SourceReport, WitnessReport)}


def _reports(kind: type) -> Any:
    return Annotated[tuple.__class_getitem__((_WIRE[kind], ...)), msgspec.Meta(max_length=MOST_REPORTS)]


BatchOnWire: Any = msgspec.defstruct(
    "BatchOnWire",
    [
        ("spool", str),
        ("sequence", int),
        ("age_s", float),
        ("oldest", int, 1),
        ("sources", _reports(SourceReport), ()),
        ("witnesses", _reports(WitnessReport), ()),
        ("gaps", Annotated[tuple[Gap, ...], msgspec.Meta(max_length=MOST_GAPS)], ()),
    ],
    kw_only=True,
    tag="batch",
)


def encode_reports(reports: Sequence[SourceReport] | Sequence[WitnessReport]) -> bytes:
    """Msgpack of the reports, as a `BatchOnWire` holds them."""
    return encode([_pack(report) for report in reports])


def encode_batch(batch: Batch) -> bytes:
    """Msgpack of a whole batch."""
    sources, witnesses = (msgspec.Raw(encode_reports(part)) for part in (batch.sources, batch.witnesses))
    return encode_spooled(
        batch.spool,
        batch.sequence,
        age_s=batch.age_s,
        oldest=batch.oldest,
        sources=sources,
        witnesses=witnesses,
        gaps=batch.gaps,
    )


def encode_spooled(
    spool: str,
    sequence: int,
    *,
    age_s: float,
    oldest: int,
    sources: msgspec.Raw,
    witnesses: msgspec.Raw,
    gaps: Sequence[Gap] = (),
) -> bytes:
    """Msgpack of a batch whose reports are encoded already."""
    return encode(
        {
            "type": "batch",
            "spool": spool,
            "sequence": sequence,
            "age_s": age_s,
            "oldest": oldest,
            "sources": sources,
            "witnesses": witnesses,
            "gaps": gaps,
        }
    )


def read_batch(batch: Any) -> Batch:
    """The batch that a decoded `BatchOnWire` stands for; ValueError for columns that make no rows, or what is out of bounds."""
    rows = sum(_count(report, SourceReport) for report in batch.sources)
    rows += sum(_count(report, WitnessReport) for report in batch.witnesses)
    if rows > MOST_ROWS:
        raise ValueError(f"{rows} rows in a batch, {MOST_ROWS} are taken")
    gaps = tuple(
        msgspec.structs.replace(gap, begun_age_s=age_s(gap.begun_age_s), ended_age_s=age_s(gap.ended_age_s))
        for gap in batch.gaps
    )
    head = Batch(spool=batch.spool, sequence=batch.sequence, age_s=age_s(batch.age_s), oldest=batch.oldest, gaps=gaps)
    head = checked(head)
    if min(head.sequence, head.oldest) < 1 or any(not 0 < gap.first <= gap.last for gap in head.gaps):
        raise ValueError("its sequences are not valid")
    if any(len(gap.why) > MOST_WHY for gap in head.gaps):
        raise ValueError(f"why there is a gap is a text of more than {MOST_WHY} characters")
    return msgspec.structs.replace(  # type: ignore[no-any-return]
        head,
        sources=tuple(_unpack(report, SourceReport) for report in batch.sources),
        witnesses=tuple(_unpack(report, WitnessReport) for report in batch.witnesses),
    )


def _pack(report: SourceReport | WitnessReport) -> Any:
    kind = type(report)
    tables = _TABLES[kind]
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return _WIRE[kind](**{name: _columns(value) if name in tables else value for name, value in values.items()})


def _unpack(packed: Any, kind: type[Report]) -> Report:
    scalars = {name: getattr(packed, name) for name in packed.__struct_fields__ if name not in _TABLES[kind]}
    report = checked(kind(**scalars))
    rows = {name: _rows(getattr(packed, name), row) for name, row in _TABLES[kind].items()}
    for name, table in rows.items():
        _check_targets(name, table)
    return replace(report, **rows)  # type: ignore[no-any-return]


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
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
    known = {field.name: columns[field.name] for field in fields(row) if field.name in columns}
    if len({_length(raw) for raw in known.values()}) > 1:
        raise ValueError(f"the columns of {row.__name__} differ in length")
    if not known:
        return ()
    for field in fields(row):
        if field.default is MISSING and field.name not in known:
            raise ValueError(f"a column of {row.__name__} is a missing required field: {field.name}")
    held = {name: _column(row, name, raw) for name, raw in known.items()}
    return tuple(row(**dict(zip(held, values, strict=True))) for values in zip(*held.values(), strict=True))


def _column(row: type, name: str, raw: msgspec.Raw) -> Sequence[Any]:
    kind = _CELLS[row][name]
    if kind is bytes:  # base64, see `_columns`
        values = msgspec.convert(decode(raw, list[str]), list[bytes])
        return checked_column(row, name, values)
    return checked_column(row, name, decode(raw, cast("type[list[Any]]", list.__class_getitem__(kind))))


def _count(report: Any, kind: type[SourceReport | WitnessReport]) -> int:
    """Rows of all tables of a report, without making one."""
    rows = 0
    for name, row in _TABLES[kind].items():
        rows += max([_length(raw) for field, raw in getattr(report, name).items() if field in _CELLS[row]], default=0)
    return rows


def _length(raw: msgspec.Raw) -> int:
    """How long a list is, by its head in msgpack (the formats `fixarray`, `array 16` and `array 32`)."""
    data = bytes(memoryview(raw)[:5])
    if data[0] & 0xF0 == 0x90:  # noqa: PLR2004
        return data[0] & 0x0F
    if data[0] in _ARRAY_BYTES:
        return int.from_bytes(data[1 : 1 + _ARRAY_BYTES[data[0]]], "big")
    raise ValueError("a column is not a list")


def _check_targets(name: str, rows: Sequence[Any]) -> None:
    """ValueError when a table speaks of one port of a target over and over, which no honest sender does."""
    if not rows or not isinstance(rows[0], ArrivalRow | Observation | NoPortsGroup):
        return
    spoken: dict[int, list[int]] = {}
    for row in rows:
        again = row.ports.bits or 1
        said = spoken.setdefault(row.target, [0] * MOST_TIMES)
        for place, before in enumerate(said):
            said[place], again = before | again, before & again
            if not again:
                break
        else:
            raise ValueError(f"{name} speaks of a port of target {row.target} more than {MOST_TIMES} times")
