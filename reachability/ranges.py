"""Whose addresses a range at an end of a path are: two environments may well use the same ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby
from operator import itemgetter

from reachability.topology import Environment, Network


class AmbiguousRangeError(LookupError):
    """Several environments have the same claim on a range: to guess one would let the other's cells pass."""

    def __init__(self, network: Network, environments: Collection[str]) -> None:
        super().__init__(f"{network} may be that of {' or '.join(environments)}")
        self.network, self.environments = network, tuple(environments)


def owner_of(network: Network, environments: Iterable[Environment]) -> str:
    """The environment that a range belongs to, "" where it reaches beyond every network: all that lies in it is meant then.

    The narrowest network that contains it decides, as a route would. AmbiguousRangeError where equal networks do, or
    where equal networks of several environments lie in it.
    """
    claims = [(mine, environment.name) for environment in environments for mine in environment.networks]
    around = [claim for claim in claims if _is_within(network, claim[0])]
    if around:
        narrowest = max(mine.prefixlen for mine, _ in around)
        names = list(dict.fromkeys(name for mine, name in around if mine.prefixlen == narrowest))
        if len(names) > 1:
            raise AmbiguousRangeError(network, names)
        return names[0]
    inside = sorted(((str(mine), name) for mine, name in claims if _is_within(mine, network)), key=itemgetter(0))
    for _, alike in groupby(inside, key=itemgetter(0)):
        names = list(dict.fromkeys(name for _, name in alike))
        if len(names) > 1:
            raise AmbiguousRangeError(network, names)
    return ""


def _is_within(one: Network, other: Network) -> bool:
    first, last = int(one.network_address), int(one.broadcast_address)
    return one.version == other.version and int(other.network_address) <= first <= last <= int(other.broadcast_address)
