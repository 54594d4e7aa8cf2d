"""What was measured of the loss on the way to each host, and by which of it silence there is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reachability.loss import Counted, Endpoint, partial, worst
from reachability.observation import ControlResult, Target
from reachability.round_data import RoundData
from reachability.vocabulary import ControlKind, Protocol

ENOUGH = 48  # packets that tell of a loss by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Packets that tell of loss, by what they were sent to."""

    elsewhere: Mapping[Protocol, Counted]  # controls there and back, that do not go to the pair
    pair: Mapping[Endpoint, Counted]  # controls of the pair, there and back
    arrived: Mapping[Endpoint, Counted]  # ports at which a witness saw some copies: the way there alone

    @classmethod
    def of(cls, rounds: Sequence[RoundData], controls: Iterable[ControlResult]) -> Measured:
        """All that the rounds tell. A control that nothing ever answered is none."""
        elsewhere: dict[Protocol, Counted] = {}
        pair: dict[Endpoint, Counted] = {}
        for control in controls:
            counted = Counted(control.sent, control.sent - control.answered)
            if not control.answered:
                continue
            if control.kind == ControlKind.PAIR:
                key = Endpoint(control.address, control.protocol)
                pair[key] = _both(counted, pair.get(key))
            else:
                elsewhere[control.protocol] = _both(counted, elsewhere.get(control.protocol))
        return cls(elsewhere=elsewhere, pair=pair, arrived=partial(rounds))

    def losses(self, targets: Iterable[Target], least: float, *, one_way: bool) -> dict[int, float | None]:
        """Target id to the upper bound of the loss to its host (`one_way`), or there and back; None: not measured."""
        bounds: dict[Endpoint, float | None] = {}
        found = {}
        for target in targets:
            key = Endpoint(target.address, target.protocol)
            if key not in bounds:
                bound = self._bound(key, one_way=one_way)
                bounds[key] = None if bound is None else max(bound, least)
            found[target.id] = bounds[key]
        return found

    def answered(self) -> tuple[Counted, ...]:
        """What controls tell, there and back: those elsewhere, those of the pair."""
        return _sum(self.elsewhere.values()), _sum(self.pair.values())

    def _bound(self, host: Endpoint, *, one_way: bool) -> float | None:
        """By what was measured on the way to that host with its protocol, where it loses more than controls elsewhere.

        Of a host to which nothing was measured, what the other hosts of the pair lose is the best that is known.
        """
        ways = (self.pair, self.arrived) if one_way else (self.pair,)
        mine = [way[host] for way in ways if host in way]
        if len(mine) > 1 and mine[1].sent >= max(ENOUGH, mine[0].sent):
            mine = mine[1:]  # the way there itself, of which there and back can tell no more than a bound
        if not mine:
            mine = [counted for way in ways for key, counted in way.items() if key.protocol is host.protocol]
        own = self.elsewhere.get(host.protocol, Counted(0, 0))
        others = [counted for protocol, counted in self.elsewhere.items() if protocol is not host.protocol]
        bound = worst([own, *mine], others)
        if bound is None:  # the protocol has no measure at all: what the others lose has to do
            return worst(counted for way in ways for counted in way.values())
        return bound


def _sum(counted: Iterable[Counted]) -> Counted:
    counted = tuple(counted)
    return Counted(sum(sent for sent, _ in counted), sum(lost for _, lost in counted))


def _both(one: Counted, other: Counted | None) -> Counted:
    return one if other is None else _sum((one, other))
