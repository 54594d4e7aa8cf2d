"""From evidence to reachability: the table of docs, row by row, as one pure function. Silence is not evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from reachability.vocabulary import Arrival, Canary, Proof, Protocol, Reachability, Reason, State, Unanswered, Unproven


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
    way: str = ""  # a `SentBy`
    kernel: str = ""  # a `KernelAnswer`
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
    no_witness_why: str = ""  # in words
    arrived: int = 0
    came_from: str = ""
    came_hops: int | None = None
    dscp: int = 0  # as it arrived; sent as 0
    mss: int = 0  # as it arrived; 0: not read
    altered: str = ""  # an `Altered`
    answered: bool = False
    bound: bool = False
    noports_still: bool | None = None
    drops_still: bool | None = None
    # controls
    inside: State | None = None  # what the inside control got; FILTERED is silence; None: no control
    inside_by: str = ""
    inside_once: bool = False  # it is not shown to have answered after the source's last copy as well
    inside_same: bool = False  # the endpoint said the same eight bytes or more inside and outside
    canary: Canary = Canary.NOT_SENT
    host_hops: int | None = None
    control: bool = False  # a source control of this protocol, family, address and next hop was good
    control_by: str = ""
    loss: float | None = None  # upper bound of the loss of the pair, 0..1
    problem: str = ""  # why silence or a missing arrival proves nothing here: an `Unproven`, or a `Reason`


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reachability with its proof, the row of the table that gave it, and the reason as one word.

    The word is a `Reason`, `Unproven` or `Unanswered`.
    """

    reachability: Reachability
    proof: Proof = Proof.NONE
    row: int = 18
    reason: str = ""

    @property
    def green(self) -> bool:
        """Whether it shows that no session can be made."""
        return self.reachability in {Reachability.BLOCKED, Reachability.BLOCKED_AT_HOST, Reachability.NO_SESSION}


_REFUSALS = {
    Reason.HOST_UNREACH,
    Reason.NET_UNREACH,
    Reason.PROTO_UNREACH,
    Reason.PORT_UNREACH,
    Reason.ADMIN_PROHIBITED,
    Reason.TTL_EXCEEDED,
}
THREE_FLOWS = 3


def judge(e: Evidence) -> Verdict:
    """The first row of the table in `docs/verdict.md` that the evidence meets; row 18 says why nothing is proven."""
    match e.state:
        case State.OPEN:
            return _open(e)
        case State.CLOSED:
            return _closed(e)
        case State.FILTERED | State.OPEN_FILTERED:
            return _silent_or_refused(e)
        case State.ERROR:
            # What left before the error and was seen to arrive counts all the same: a wrong name cannot arrive.
            return _seen(e) if e.arrival is Arrival.SEEN else _unknown(e.problem or e.reason.value)
        case _:
            assert_never(e.state)


def _open(e: Evidence) -> Verdict:
    if e.arrival is Arrival.SEEN:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=1, reason=e.reason.value)
    if e.arrival is Arrival.NOT_SEEN:
        return Verdict(reachability=Reachability.UNKNOWN, row=4, reason=Unproven.ANSWERED_ELSEWHERE)
    if e.canary is Canary.CLEAR or e.inside_same:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=2, reason=e.reason.value)
    if e.canary is Canary.OPEN:
        return Verdict(reachability=Reachability.UNKNOWN, row=3, reason=Unproven.ANSWERS_FOR_ALL)
    return _unknown(e.problem or Unproven.NO_CANARY)


def _closed(e: Evidence) -> Verdict:
    if e.arrival is Arrival.SEEN:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=5, reason=e.reason.value)
    if e.problem:
        return _unknown(e.problem)
    if e.reason is Reason.CONN_REFUSED or not e.sent:
        # `connect` cannot tell a RST from the router, a REJECT and its own host's filter apart.
        return _unknown(Unproven.REFUSED_BY_SOMEONE)
    if e.arrival is Arrival.NOT_SEEN:
        return Verdict(reachability=Reachability.BLOCKED, proof=Proof.WITNESSED, row=6, reason=e.reason.value)
    if e.hops is None or e.host_hops is None:
        return _unknown(Unproven.WHO_CLOSED_IT)
    if e.hops < e.host_hops and inside_answered(e) and e.control:
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.CONTROLLED, row=7, reason=e.reason.value)
    if e.hops == e.host_hops and e.inside is State.CLOSED:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.INFERRED, row=8, reason=e.reason.value)
    return _unknown(Unproven.WHO_CLOSED_IT)


def _silent_or_refused(e: Evidence) -> Verdict:
    if e.arrival is Arrival.SEEN:
        return _seen(e)
    if e.problem:
        return _unknown(e.problem)
    if not e.sent:
        return _unknown(Unproven.NOT_SENT)
    if e.endpoint_refused:
        return _unknown(Unproven.REFUSED_BY_ENDPOINT)
    if not e.control or not e.covered:
        return _unknown(Unproven.NO_SOURCE_CONTROL)
    if e.arrival is Arrival.NOT_SEEN:
        return Verdict(reachability=Reachability.BLOCKED, proof=Proof.WITNESSED, row=15, reason=e.reason.value)
    if inside_answered(e):
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.CONTROLLED, row=16, reason=e.reason.value)
    if e.refused >= e.sent >= THREE_FLOWS and e.flows >= THREE_FLOWS:
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.REFUSED, row=17, reason=e.reason.value)
    if e.inside in {State.FILTERED, State.OPEN_FILTERED}:
        return _unknown(Unproven.SILENT_INSIDE)
    if inside_answered(replace(e, inside_once=False)):
        return _unknown(Unproven.INSIDE_ONCE)
    # Without a control, or with one that failed: what is closed inside settles TCP and ICMP, but not UDP.
    return _unknown(Unproven.CLOSED_INSIDE if e.inside is State.CLOSED else Unproven.NO_INSIDE_CONTROL)


def _seen(e: Evidence) -> Verdict:
    """Rows 9 to 14: a copy arrived at the host, and no answer came back to the source."""
    if e.endpoint_refused:
        return Verdict(reachability=Reachability.BLOCKED_AT_HOST, proof=Proof.WITNESSED, row=9, reason=e.reason.value)
    if e.answered:
        return Verdict(reachability=Reachability.ONE_WAY, proof=Proof.WITNESSED, row=10, reason=Unanswered.ANSWER_LOST)
    if e.no_witness_why and _stopped_at_host(e):
        return _unknown(Unproven.HEARD_IN_PART)  # the answer may be among what this witness missed
    at_host = Reachability.BLOCKED_AT_HOST
    if e.protocol is not Protocol.UDP and not e.bound:
        return Verdict(reachability=at_host, proof=Proof.WITNESSED, row=11, reason=Unanswered.HOST_SILENT)
    if e.protocol is Protocol.UDP and not e.bound and e.noports_still:
        return Verdict(reachability=at_host, proof=Proof.WITNESSED, row=12, reason=Unanswered.HOST_SILENT)
    if e.bound and inside_answered(e) and e.drops_still:
        return Verdict(reachability=at_host, proof=Proof.WITNESSED, row=13, reason=Unanswered.HOST_SILENT)
    if e.bound and e.problem == Unproven.TWO_HOLDERS:
        return _unknown(e.problem)
    if e.bound and e.drops_still and e.inside_once and inside_answered(replace(e, inside_once=False)):
        return _unknown(Unproven.INSIDE_ONCE)
    return Verdict(reachability=Reachability.ONE_WAY, proof=Proof.WITNESSED, row=14, reason=Unanswered.NO_ANSWER)


def _stopped_at_host(e: Evidence) -> bool:
    """Whether rows 11 to 13 hold, were its witness whole."""
    return (not e.bound and (e.protocol is not Protocol.UDP or bool(e.noports_still))) or bool(
        e.bound and inside_answered(e) and e.drops_still
    )


def inside_answered(e: Evidence) -> bool:
    """Whether the inside control had the answer that its protocol asks for, at both ends: TCP and ICMP any, UDP a reply."""
    if e.inside_once:
        return False
    if e.protocol is Protocol.UDP:
        return e.inside is State.OPEN
    return e.inside in {State.OPEN, State.CLOSED}


def is_refusal(state: State, reason: Reason) -> bool:
    """Whether an answer is an ICMP refusal, rather than silence."""
    return state is State.FILTERED and reason in _REFUSALS


def _unknown(reason: str) -> Verdict:
    return Verdict(reachability=Reachability.UNKNOWN, row=18, reason=reason)
