"""Joins what source, witnesses and inside controls reported of a round and its follow-ups into evidence per cell.

Pure and repeatable: the reports are kept, so that a later report or a better rule concludes a round again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from reachability.another_holder import with_another_holder
from reachability.arrival import ArrivalRow
from reachability.challenge import Challenged
from reachability.challenged import challenged
from reachability.delivery import Delivery
from reachability.facts import PairFacts, gather
from reachability.followups import FollowUp, OpenEnds, follow_ups, unchallenged
from reachability.host_facts import HostFacts
from reachability.inside import inside_controls
from reachability.legs import with_legs
from reachability.lost import with_loss
from reachability.matrix import CellKey
from reachability.observation import Observation, Target
from reachability.overlay import overlay
from reachability.ports import PortSet
from reachability.refusal import is_refusal
from reachability.round_data import RoundData
from reachability.spread import span_s, with_spread
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, KernelAnswer, Reason, RoundKind, SentBy, State, Unproven
from reachability.whose_word import of_those_asked, without_two_holders


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The evidence of every cell that was tried."""

    cells: tuple[tuple[CellKey, PortSet, Evidence], ...]
    followups: tuple[FollowUp, ...] = ()


def conclude(rounds: Sequence[RoundData], *, pending: bool = False) -> Conclusion:
    """Conclude a round (the first) together with its follow-ups (the rest), with which it shares its endpoints.

    `pending`: the follow-ups that this asks for will be made, so that what is only to be tried again is left out for now.
    """
    rounds = [of_those_asked(data) for data in rounds]
    main = rounds[0]
    pair = gather(rounds)
    cells: list[tuple[CellKey, Target, PortSet, Evidence]] = []
    open_ends: list[OpenEnds] = []
    for target in main.spec.targets:
        found, left = _target(rounds, pair, target)
        cells.extend(found)
        open_ends.append(left)
    if why := unchallenged(rounds, open_ends):
        cells = [(k, t, ports, replace(e, no_witness_why=why) if _is_undecided(e) else e) for k, t, ports, e in cells]
    cells, copies = with_loss(with_another_holder(cells), pair)
    cells = [(key, target, ports, with_spread(e, main.spec.spread_s)) for key, target, ports, e in cells]
    cells, flows = with_legs(cells, rounds)
    followups = follow_ups(rounds, open_ends, cells, copies, flows, pair.slower_pps)
    waiting = {Unproven.SPREAD, Unproven.LEGS} if pending and followups else ()
    return Conclusion(
        cells=tuple((key, ports, e) for key, _, ports, e in cells if e.problem not in waiting),
        followups=followups,
    )


def _target(
    rounds: Sequence[RoundData], pair: PairFacts, target: Target
) -> tuple[list[tuple[CellKey, Target, PortSet, Evidence]], OpenEnds]:
    host = pair.hosts[target.id]
    whole = target.ports
    seen = [row for data in rounds for w in data.witnesses for row in w.arrivals if _is(row, data, target)]
    tried = [_observed(data, target) for data in rounds if data.spec.kind is not RoundKind.NOPORTS]
    inside = inside_controls(rounds, target)
    tokened = PortSet.union(row.ports for row in seen)
    unexplained = (host.untokened & whole) - tokened - host.kernel_seen
    by_challenge = challenged(rounds, pair, target, unexplained)
    layers: tuple[Any, ...] = (
        *tried,
        _sum_arrivals(seen),
        [(host.kernel_seen & whole, False), (host.kernel_answered & whole, True)],
        by_challenge,
        inside.first,
        [(inside.once, True)],
        [(host.bound, True)],
        host.deliveries,
    )
    result, undecided = [], PortSet()
    noports = {False: PortSet(), True: PortSet()}  # by whether a socket is bound
    for ports, values in overlay(whole, *layers):
        observations = [o for o in values[: len(tried)] if o is not None]
        if not observations:
            continue
        arrival, kernel_seen, challenge, control, once, bound, delivery = values[len(tried) :]
        base = _merge(observations)
        evidence = replace(_evidence(base, pair, host, target), span_s=span_s(observations))
        evidence = _with_arrival(evidence, host, arrival, kernel_seen, challenge)
        if evidence.arrival is Arrival.SEEN and _stopped(base, pair):
            evidence = replace(evidence, problem=evidence.problem or Unproven.CONTROLS_STOPPED)
        evidence = _with_delivery(replace(evidence, bound=bool(bound)), delivery or Delivery())
        if control is not None:
            same = bool(base.said) and base.said == control.said
            evidence = replace(
                evidence, inside=control.state, inside_by=target.inside, inside_once=bool(once), inside_same=same
            )
        evidence = without_two_holders(evidence, rounds, target)
        if challenge is Challenged.UNDECIDED:
            undecided |= ports
        if _may_be_told(evidence):
            noports[evidence.bound] |= ports
        address = target.address
        key = CellKey(
            agent=rounds[0].spec.source,
            source_address=base.source_address or target.source,
            destination=target.environment,
            address=address,
            protocol=target.protocol,
        )
        result.append((key, target, ports, evidence))
    return result, OpenEnds(target, undecided, tuple(filter(None, noports.values())))


def _observed(data: RoundData, target: Target) -> list[tuple[PortSet, Observation]]:
    if data.source is None:
        return []
    return [(o.ports, o) for o in data.source.observations if o.target == target.id]


def _is(row: ArrivalRow, data: RoundData, target: Target) -> bool:
    return row.target == target.id and any(t.id == target.id for t in data.spec.targets)


def _sum_arrivals(seen: Sequence[ArrivalRow]) -> list[tuple[PortSet, ArrivalRow]]:
    """Rows of several rounds and late corrections added up, so that every port has one row."""
    layers: list[list[tuple[PortSet, ArrivalRow]]] = []
    taken: list[PortSet] = []  # rows that share no port are one layer: a host may make each of its ports look different
    for row in seen:
        place = next((n for n, whole in enumerate(taken) if not whole & row.ports), len(layers))
        if place == len(layers):
            layers.append([])
            taken.append(PortSet())
        layers[place].append((row.ports, row))
        taken[place] |= row.ports
    summed = []
    for ports, values in overlay(PortSet.union(taken), *layers):
        rows = [row for row in values if row is not None]
        summed.append(
            (
                ports,
                replace(
                    rows[0],
                    ports=ports,
                    copies=sum(row.copies for row in rows),
                    last_copy=max(row.last_copy for row in rows),
                    answered=any(row.answered for row in rows),
                ),
            )
        )
    return summed


_RANK = {State.OPEN: 4, State.CLOSED: 3, State.FILTERED: 1, State.OPEN_FILTERED: 1, State.ERROR: 0}


def _merge(observations: Sequence[Observation]) -> Observation:
    """One observation of several rounds: what crossed wins, then a refusal, then silence, then an error."""

    def rank(o: Observation) -> int:
        return _RANK[o.state] + is_refusal(o.state, o.reason)

    best = max(observations, key=rank)
    return replace(
        best,
        sent=sum(o.sent for o in observations),
        covered=sum(o.covered for o in observations),
        flows=sum(o.flows for o in observations),
        refused=sum(o.refused for o in observations),
        prohibited=sum(o.prohibited for o in observations),
        prohibited_at_host=sum(o.prohibited_at_host for o in observations),
        hops=max((o.hops for o in observations if o.state is best.state and o.hops is not None), default=None),
        said=next((o.said for o in observations if o.said), ""),
        note=next((o.note for o in observations if o.note), ""),
        kernel=next((o.kernel for o in observations if o.kernel), ""),
    )


def _evidence(o: Observation, pair: PairFacts, host: HostFacts, target: Target) -> Evidence:
    control = pair.control(o, target)
    problem: Reason | None = None
    if o.kernel == KernelAnswer.NOT_SENT or o.reason is Reason.LOCAL_FILTER:
        problem = Reason.LOCAL_FILTER
    elif o.way == SentBy.CONNECT:
        problem = Reason.NO_PERMISSION
    return Evidence(
        protocol=target.protocol,
        state=o.state,
        reason=o.reason,
        refused_by=o.refused_by,
        endpoint_refused=is_refusal(o.state, o.reason) and o.refused_by == target.address,
        way=o.way,
        kernel=o.kernel,
        via=o.via,
        sent=o.sent,
        covered=control.covered,
        flows=o.flows,
        refused=o.refused,
        prohibited=o.prohibited,
        prohibited_at_host=o.prohibited_at_host,
        hops=o.hops,
        rtt_ms=o.rtt_ms,
        said=o.said,
        note=o.note,
        drops_still=host.drops_still,
        inside_heard=host.heard_inside,
        canary=host.canary,
        host_hops=host.hops,
        least_hops=host.least_hops,
        control=control.good,
        control_by=control.by,
        problem=problem or "",
    )


def _with_arrival(
    e: Evidence, host: HostFacts, row: ArrivalRow | None, kernel: bool | None, challenge: Challenged | None
) -> Evidence:
    missed = "" if host.healthy else host.why
    if row is not None:
        return replace(
            e,
            arrival=Arrival.SEEN,
            no_witness_why=missed,
            arrived=row.copies,
            came_from=row.came_from,
            came_hops=row.hops,
            dscp=row.dscp,
            mss=row.mss,
            altered=row.altered,
            answered=row.answered or bool(kernel),
        )
    if kernel is not None:
        return _came(e, missed, answered=kernel or challenge is Challenged.SEEN_ANSWERED)
    match challenge:
        case Challenged.SEEN | Challenged.SEEN_ANSWERED:
            return _came(e, missed, answered=challenge is Challenged.SEEN_ANSWERED)
        case Challenged.UNDECIDED:
            why = Unproven.UNDECIDED
            return replace(e, arrival=Arrival.NO_WITNESS, no_witness_why=why, problem=e.problem or why)
        case Challenged.NOT_SEEN | None:
            if host.healthy:
                return replace(e, arrival=Arrival.NOT_SEEN)
            return replace(e, arrival=Arrival.NO_WITNESS, no_witness_why=host.why)
        case _:
            assert_never(challenge)


def _may_be_told(e: Evidence) -> bool:
    """Whether the counters of its host would settle it."""
    return judge(e).reason in {Unproven.MAYBE_DELIVERED, Unproven.MAY_BE_HANDED_ON}


def _with_delivery(e: Evidence, found: Delivery) -> Evidence:
    return replace(e, noports_still=found.noports_still, undelivered=found.undelivered, handed_on=found.handed_on)


def _stopped(o: Observation, pair: PairFacts) -> bool:
    """Whether every copy left behind the last good control: a ban, perhaps, by the path or by the host itself."""
    return o.sent > 0 and not o.covered and pair.has_answered(o.protocol, o.address)


def _came(e: Evidence, missed: str, *, answered: bool) -> Evidence:
    """Something of the cell arrived without a token. `missed`: why an answer may have been missed."""
    answered = answered or e.state in {State.OPEN, State.CLOSED}
    return replace(e, arrival=Arrival.SEEN, no_witness_why=missed, arrived=1, answered=answered)


def _is_undecided(e: Evidence) -> bool:
    return e.no_witness_why == Unproven.UNDECIDED
