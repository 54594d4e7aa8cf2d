"""From evidence to reachability: the table of docs, row by row, as one pure function. Silence is not evidence."""

from __future__ import annotations

from dataclasses import dataclass

from reachability.vocabulary import Arrival, Proof, Protocol, Reachability, Reason, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that bears on a cell in one round. Equal for every port of a run, so it is judged once a run.

    None means: not known. Times are milliseconds.
    """

    protocol: Protocol
    # what the source saw
    state: State = State.ERROR
    reason: Reason = Reason.LOCAL_ERROR
    refused_by: str = ""
    endpoint_refused: bool = False  # the refusal came from the endpoint's own address
    way: str = ""
    kernel: str = ""
    via: str = ""
    sent: int = 0
    covered: int = 0  # copies before the last good source control
    flows: int = 0
    refused: int = 0
    hops: int | None = None
    rtt_ms: float | None = None
    said: str = ""
    note: str = ""
    # what the witness saw
    arrival: Arrival = Arrival.NO_WITNESS
    no_witness_why: str = ""
    arrived: int = 0
    came_from: str = ""
    answered: bool = False
    bound: bool = False
    noports_still: bool | None = None
    drops_still: bool | None = None
    # controls
    inside: State | None = None  # what the inside control got; FILTERED is silence; None: no control
    inside_by: str = ""
    inside_same: bool = False  # the endpoint said the same eight bytes or more inside and outside
    canary: str = ""  # clear (closed or silent before and after) | open | unknown | "" none sent
    host_hops: int | None = None
    control: bool = False  # a source control of this protocol, family, address and next hop was good
    control_by: str = ""
    loss: float | None = None  # upper bound of the loss of the pair, 0..1
    problem: str = ""  # why silence or a missing arrival proves nothing here: `undecided`, `loss`, `controls-stopped`, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reachability with its proof, the row of the table that gave it, and the reason as one word."""

    reachability: Reachability
    proof: Proof = Proof.NONE
    row: int = 18
    reason: str = ""
