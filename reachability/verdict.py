"""From evidence to reachability: the table of docs, row by row, as one pure function. Silence is not evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from reachability.distance import Closer, closer, nearer
from reachability.refusal import is_policy
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
    span_s: float | None = None  # from the first of these copies to the last
    refused: int = 0
    prohibited: int = 0  # copies refused by a policy's codes alone, from others than the endpoint
    prohibited_at_host: int = 0  # the same, from the endpoint itself
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
    undelivered: bool | None = None  # UDP; True: shown that no socket got it and nobody behind the host; False: one did
    handed_on: bool | None = False  # True: to another host or container (NAT); None: not known
    drops_still: bool | None = None
    # controls
    inside: State | None = None  # what the inside control got; FILTERED is silence; None: no control
    inside_by: str = ""
    inside_heard: bool = False  # it had some answer from that host, by this port or another
    inside_once: bool = False  # it is not shown to have answered after the source's last copy as well
    inside_same: bool = False  # the endpoint said the same eight bytes or more inside and outside
    canary: Canary = Canary.NOT_SENT
    host_hops: int | None = None
    least_hops: int | None = None  # what the host's own may have come by another way back; None: none is known
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


THREE_FLOWS = 3
ROW_REFUSED, ROW_ONE_WAY = 9, 14


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
    if e.inside_same or (e.canary is Canary.CLEAR and not _unserved_inside(e)):
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=2, reason=e.reason.value)
    if e.canary is Canary.OPEN:
        return Verdict(reachability=Reachability.UNKNOWN, row=3, reason=Unproven.ANSWERS_FOR_ALL)
    if _unserved_inside(e):
        return _unknown(e.problem or Unproven.ANSWERED_ELSEWHERE)
    return _unknown(e.problem or Unproven.NO_CANARY)


def _unserved_inside(e: Evidence) -> bool:
    """Whether the host itself has nothing there: what answers outside alone is before it, a proxy of this one port.

    A closed UDP port may be silent inside: hosts send few ICMP errors.
    """
    return e.inside is State.CLOSED or (e.protocol is Protocol.UDP and e.inside is State.OPEN_FILTERED)


def _closed(e: Evidence) -> Verdict:
    if e.arrival is Arrival.SEEN:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.REPLIED, row=5, reason=e.reason.value)
    if e.problem:
        return _unknown(e.problem)
    if e.reason is Reason.CONN_REFUSED or not e.sent:
        # `connect` cannot tell a RST from the router, a REJECT and its own host's filter apart.
        return _unknown(Unproven.REFUSED_BY_SOMEONE)
    if e.arrival is Arrival.NOT_SEEN:
        return _closed_elsewhere(e)
    if e.hops is None or e.host_hops is None:
        return _unknown(Unproven.WHO_CLOSED_IT)
    if nearer(e.hops, e.host_hops, e.least_hops) and inside_answered(e):
        if not _controlled(e):
            return _unknown(Unproven.NO_SOURCE_CONTROL)
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.CONTROLLED, row=7, reason=e.reason.value)
    if e.hops == e.host_hops and e.inside is State.CLOSED:
        return Verdict(reachability=Reachability.REACHABLE, proof=Proof.INFERRED, row=8, reason=e.reason.value)
    return _unknown(Unproven.WHO_CLOSED_IT)


def _closed_elsewhere(e: Evidence) -> Verdict:
    """Something closed it in the host's name, and the host's witness knows of nothing."""
    who = closer(e.hops, e.host_hops, e.via)
    match who:
        case Closer.PATH:
            if not _controlled(e):
                return _unknown(Unproven.NO_SOURCE_CONTROL)
            return Verdict(reachability=Reachability.BLOCKED, proof=Proof.WITNESSED, row=6, reason=e.reason.value)
        case Closer.AS_FAR_AS_THE_HOST:
            return Verdict(reachability=Reachability.UNKNOWN, row=4, reason=Unproven.ANSWERED_ELSEWHERE)
        case Closer.UNKNOWN:
            return _unknown(Unproven.WHO_CLOSED_IT)
        case _:
            assert_never(who)


def _silent_or_refused(e: Evidence) -> Verdict:
    if e.arrival is Arrival.SEEN:
        return _seen(e)
    if e.problem:
        return _unknown(e.problem)
    if not e.sent:
        return _unknown(Unproven.NOT_SENT)
    if e.endpoint_refused and not _refused_by_the_path(e):
        return _unknown(Unproven.REFUSED_BY_ENDPOINT)
    if not _controlled(e):
        return _unknown(Unproven.NO_SOURCE_CONTROL)
    if e.arrival is Arrival.NOT_SEEN:
        return Verdict(reachability=Reachability.BLOCKED, proof=Proof.WITNESSED, row=15, reason=e.reason.value)
    if inside_answered(e):
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.CONTROLLED, row=16, reason=e.reason.value)
    if _not_silent_inside(e) and e.prohibited >= e.sent >= THREE_FLOWS and e.flows >= THREE_FLOWS:
        return Verdict(reachability=Reachability.NO_SESSION, proof=Proof.REFUSED, row=17, reason=e.reason.value)
    if e.inside in {State.FILTERED, State.OPEN_FILTERED}:
        return _unknown(Unproven.SILENT_INSIDE)
    if inside_answered(replace(e, inside_once=False)):
        return _unknown(Unproven.INSIDE_ONCE)
    # Without a control, or with one that failed: what is closed inside settles TCP and ICMP, but not UDP.
    return _unknown(Unproven.CLOSED_INSIDE if e.inside is State.CLOSED else Unproven.NO_INSIDE_CONTROL)


def _refused_by_the_path(e: Evidence) -> bool:
    """Whether a refusal in the endpoint's name stopped the packet before the host, or at another that holds the address.

    A policy of such another host stops it as well. Any other refusal comes from who would forward it, if only it could.
    """
    by_path = is_policy(e.reason) or closer(e.hops, e.host_hops, e.via) is Closer.PATH
    return by_path and e.arrival is Arrival.NOT_SEEN


def _seen(e: Evidence) -> Verdict:
    """Rows 9 to 14: a copy arrived at the host, and no answer came back to the source."""
    if e.answered:
        return Verdict(reachability=Reachability.ONE_WAY, proof=Proof.WITNESSED, row=10, reason=Unanswered.ANSWER_LOST)
    row = _row_at_host(e)
    if row == ROW_ONE_WAY and (why := _doubted_inside(e)):
        return _unknown(why)
    if row == ROW_ONE_WAY:
        return Verdict(reachability=Reachability.ONE_WAY, proof=Proof.WITNESSED, row=row, reason=Unanswered.NO_ANSWER)
    if e.no_witness_why:
        return _unknown(Unproven.HEARD_IN_PART)  # the answer may be among what this witness missed
    if row is None and e.endpoint_refused and not (_by_policy_alone(e) and _row_of_silence(e) is None):
        return _unknown(e.problem or Unproven.REFUSED_BY_ENDPOINT)
    if row is None:
        return _unknown(Unproven.MAYBE_DELIVERED if e.protocol is Protocol.UDP else Unproven.MAY_BE_HANDED_ON)
    if e.problem == Unproven.CONTROLS_STOPPED:
        return _unknown(e.problem)  # the host may have banned the source, whatever it does with others
    why = e.reason.value if row == ROW_REFUSED else Unanswered.HOST_SILENT
    return Verdict(reachability=Reachability.BLOCKED_AT_HOST, proof=Proof.WITNESSED, row=row, reason=why)


def _row_at_host(e: Evidence) -> int | None:
    """Which of rows 9 and 11 to 14 holds, were its witness whole and no ban on the way; None: who stopped it is not known."""
    if not e.endpoint_refused:
        return _row_of_silence(e)
    if not _by_policy_alone(e):
        return None  # the host hands it on to one that it does not reach
    if e.prohibited_at_host >= e.sent > 0 and _controlled(e) and not e.problem:
        return ROW_REFUSED
    row = _row_of_silence(e)
    return None if row == ROW_ONE_WAY else row


def _by_policy_alone(e: Evidence) -> bool:
    return is_policy(e.reason) and e.prohibited + e.prohibited_at_host >= e.refused


def _row_of_silence(e: Evidence) -> int | None:
    """The same for copies that nobody refused."""
    if e.bound and not inside_answered(e):
        return ROW_ONE_WAY
    if e.protocol is not Protocol.UDP:
        if e.handed_on or (e.bound and not e.drops_still):
            return ROW_ONE_WAY
        return None if e.handed_on is None else 13 if e.bound else 11
    if e.undelivered is False or (e.noports_still is False and not e.bound):
        return ROW_ONE_WAY
    if e.undelivered is None:
        return None
    if e.bound:
        return 13 if e.drops_still else ROW_ONE_WAY
    return 12 if e.noports_still else None


def _doubted_inside(e: Evidence) -> str:
    """Why nobody knows whether the service answers insiders, where nothing else tells what the host did; "" when it is known."""
    if not e.bound or e.undelivered is False or e.handed_on:
        return ""
    if e.problem == Unproven.TWO_HOLDERS:
        return e.problem
    once = e.inside_once and inside_answered(replace(e, inside_once=False))
    still = e.drops_still or (e.protocol is Protocol.UDP and e.undelivered is None)
    return Unproven.INSIDE_ONCE if once and still else ""


def _controlled(e: Evidence) -> bool:
    """Whether a source control shows that copies of the cell got out."""
    return e.control and e.covered > 0


def inside_answered(e: Evidence) -> bool:
    """Whether the inside control had the answer that its protocol asks for, at both ends: TCP and ICMP any, UDP a reply."""
    if e.inside_once:
        return False
    if e.protocol is Protocol.UDP:
        return e.inside is State.OPEN
    return e.inside in {State.OPEN, State.CLOSED}


def _not_silent_inside(e: Evidence) -> bool:
    """Whether the inside control, where there is one, heard the host.

    A UDP port may be silent because the host's limit on ICMP errors is used up: then what it answered elsewhere counts.
    """
    if e.protocol is Protocol.UDP and e.inside is State.OPEN_FILTERED:
        return e.inside_heard
    return e.inside in {None, State.OPEN, State.CLOSED}


def _unknown(reason: str) -> Verdict:
    return Verdict(reachability=Reachability.UNKNOWN, row=18, reason=reason)
