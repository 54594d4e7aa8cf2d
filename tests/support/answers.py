"""What the API answers, as whoever reads the JSON has it."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from coordinator.api.errors import encoded
from coordinator.api.responses import runs, status

T = TypeVar("T")


def json_of(body: msgspec.Struct | tuple[msgspec.Struct, ...] | None) -> Any:
    """The JSON of an answer, read by somebody who does not know the structs."""
    return None if body is None else json.loads(encoded(body))


def status_of(stands: status.Standing, **more: Any) -> status.Status:
    """The status of a coordinator that is well; `more` says what is not as usual."""
    usual = {
        "version": "0.1.0",
        "started": "2026-11-23T11:00:00.000Z",
        "topology_loaded": "2026-11-23T11:00:00.000Z",
        "topology_refused": None,
        "store": status.StoreState(problem=None),
        "broker": status.BrokerState(kind="embedded", connected=True, problem=None, lacks=()),
        "stopped": None,
        "stopped_at": None,
        "stopped_by": None,
        "floods": (),
        "refused": status.Refused(count=0, newest=()),
        "web": None,
    }
    return status.Status(**msgspec.structs.asdict(stands), **{**usual, **more})


def unfinished(name: str = "run-1", **more: Any) -> runs.Run:
    """A verify run that has no result; `more` says what is not as usual."""
    usual = {
        "state": "running",
        "waiting_for": (),
        "progress": runs.Progress(cells=0, done=0),
        "error": None,
        "stopped": None,
        "ended": False,
    }
    return runs.Run(run=name, result=None, **{**usual, **more})


def as_struct(body: Any, kind: type[T]) -> T:
    """JSON that a test has changed, as the command line reads it."""
    return msgspec.convert(body, kind)
