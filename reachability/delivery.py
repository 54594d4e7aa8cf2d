"""What a host's stack did with copies that arrived and were not answered, by how far its counters moved meanwhile.

A port without a socket of its own may lead elsewhere: NAT on the host redirects it to another port, or hands it on to a container.
`Udp: NoPorts` stands still then, as it does where the host's firewall drops the copy; `Udp: InDatagrams` or `Ip: ForwDatagrams`
does not. All of them also count what others send, so the copies go in keyed on-slots: what moves a counter in these by as
much as arrived, and hardly in the stretches between, is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reachability.arrival import CounterSlot, WitnessHealth
from reachability.observation import Target
from reachability.overlay import Layer, overlay
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, RoundKind

LEAST_ON = 3  # slots with copies, or nothing is told
NOISE = 0.5  # of the copies: what others may have added to them, for all that is known, and they still count as ours


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of some ports of a target; None: not known."""

    noports_still: bool | None = None  # UDP; False: the copies found no socket; True: they did not even come that far
    undelivered: bool | None = None  # UDP: no socket got them, and no other host or container
    handed_on: bool | None = None  # to another host or container


def deliveries(
    rounds: Sequence[RoundData], target: Target, health: Sequence[WitnessHealth]
) -> tuple[tuple[PortSet, Delivery], ...]:
    """What is known of each port of a target, of a round and its follow-ups together; `health` is that of its address.

    Over a whole round a counter tells only where it did not move, or NoPorts by all that was captured: what of another
    counter's movement is ours, the slots tell.
    """
    if not health:
        return ()
    forwards = any(h.forwards is not False for h in health)
    whole = (ICMP_CELL if target.protocol is Protocol.ICMP else ALL_PORTS) - _late(rounds, target)
    main = [
        h
        for data in rounds
        if data.spec.kind is RoundKind.NORMAL
        for w in data.witnesses
        for h in w.health
        if h.address == target.address
    ]
    noports: list[tuple[PortSet, bool | None]] = [(whole, _noports_moved(main))]
    delivered: list[tuple[PortSet, bool | None]] = [(whole, _stood_still([h.delivered for h in main]))]
    forwarded: list[tuple[PortSet, bool | None]] = [(whole, _stood_still([h.forwarded for h in main]))]
    groups = [g for data in rounds for w in data.witnesses for g in w.groups if g.target == target.id]
    for group in groups:
        noports.append((group.ports, moved(group.slots, lambda slot: slot.noports)))
        delivered.append((group.ports, moved(group.slots, lambda slot: slot.delivered)))
        forwarded.append((group.ports, moved(group.slots, lambda slot: slot.forwarded)))
    if not forwards:
        forwarded = [(target.ports, False)]
    layers = [_strongest_last(layer) for layer in (noports, delivered, forwarded)]
    return tuple((ports, _delivery(target.protocol, *values)) for ports, values in overlay(target.ports, *layers))


def moved(slots: Sequence[CounterSlot], counter: Callable[[CounterSlot], int]) -> bool | None:
    """Whether a counter moved by all copies of a group (True), by none of them (False), or that is not told (None).

    A slot in which it stood still shows that no copy of that slot moved it. One slot in which it moved all the same is noise,
    where it moved as much between the slots; one more could hide a port of which some copies are let through.
    """
    on = [slot for slot in slots if slot.arrived]
    off = [slot for slot in slots if not slot.arrived]
    if len(on) < LEAST_ON:
        return None
    counts = [counter(slot) for slot in on]
    if not any(counts):
        return False
    on_s, off_s = sum(slot.seconds for slot in on), sum(slot.seconds for slot in off)
    noise = sum(counter(slot) for slot in off)
    if counts.count(0) >= len(on) - 1:
        return False if sum(counts) * off_s <= noise * on_s else None
    ours = all(count >= slot.arrived for count, slot in zip(counts, on, strict=True))
    few = off_s > 0 and noise * on_s <= NOISE * off_s * sum(slot.arrived for slot in on)
    return True if ours and few else None


def _late(rounds: Sequence[RoundData], target: Target) -> PortSet:
    """Ports of which a copy came when the round's counters had been read."""
    late = [row for data in rounds for w in data.witnesses if w.late for row in w.arrivals]
    return PortSet.union(row.ports for row in late if row.target == target.id)


def _delivery(protocol: Protocol, noports: bool | None, delivered: bool | None, forwarded: bool | None) -> Delivery:
    """From which counters moved."""
    if protocol is not Protocol.UDP:
        return Delivery(handed_on=forwarded)
    anywhere = (delivered, forwarded)
    undelivered = False if True in anywhere else True if anywhere == (False, False) else None
    return Delivery(None if noports is None else not noports, undelivered, forwarded)


def _noports_moved(main: Sequence[WitnessHealth]) -> bool | None:
    """Over whole rounds, for all ports without a socket."""
    captured, counted = sum(h.udp_unbound for h in main), sum(h.noports for h in main)
    if not captured:
        return None
    return False if counted == 0 else True if counted >= captured else None


def _stood_still(counts: Sequence[int | None]) -> bool | None:
    return False if counts and all(count == 0 for count in counts) else None


def _strongest_last(layer: list[tuple[PortSet, bool | None]]) -> Layer:
    """A later entry hides an earlier one: that a counter moved hides that it stood still, and that hides ignorance."""
    return sorted(layer, key=lambda entry: (entry[1] is not None, entry[1] is True))
