"""What strings of the answers hold, for the schema. A reader takes words that it does not know: a newer side may have more."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from reachability import vocabulary
from reachability.fold import Kind
from reachability.life import Status

Unset = msgspec.UnsetType


def _one_of(kind: type[StrEnum]) -> msgspec.Meta:
    about = (kind.__doc__ or "").partition("\n")[0]
    return msgspec.Meta(description=about, extra_json_schema={"enum": [one.value for one in kind]})


Time = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$",
        description="ISO 8601 in UTC, with milliseconds (packets: microseconds): 2026-11-23T12:04:07.123Z.",
        extra_json_schema={"format": "date-time"},
    ),
]
Ports = Annotated[str, msgspec.Meta(description="Ports and ranges in rising order: 22 or 1-79,81-65535.")]

ProtocolWord = Annotated[str, _one_of(vocabulary.Protocol)]
StateWord = Annotated[str, _one_of(vocabulary.State)]
ReasonWord = Annotated[str, _one_of(vocabulary.Reason)]
ArrivalWord = Annotated[str, _one_of(vocabulary.Arrival)]
CanaryWord = Annotated[str, _one_of(vocabulary.Canary)]
ReachabilityWord = Annotated[str, _one_of(vocabulary.Reachability)]
ProofWord = Annotated[str, _one_of(vocabulary.Proof)]
DeclaredWord = Annotated[str, _one_of(vocabulary.Declared)]
ResultWord = Annotated[str, _one_of(vocabulary.Result)]
SensitivityWord = Annotated[str, _one_of(vocabulary.Sensitivity)]
RequireWord = Annotated[str, _one_of(vocabulary.Require)]
PacketRoleWord = Annotated[str, _one_of(vocabulary.PacketRole)]
KindWord = Annotated[str, _one_of(Kind)]
StatusWord = Annotated[str, _one_of(Status)]
