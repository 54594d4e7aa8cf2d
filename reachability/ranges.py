"""Whose addresses a range at an end of a path are: two environments may well use the same ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reachability.topology import Environment, Network


class AmbiguousRangeError(LookupError):
    """Several environments have the same claim on a range: to guess one would let the other's cells pass."""

    def __init__(self, network: Network, environments: Collection[str]) -> None:
        super().__init__(f"{network} may be that of {' or '.join(environments)}")
        self.network, self.environments = network, tuple(environments)


class Owners:
    """The environments that networks belong to. A file has many ranges and many networks: no range is held against each."""

    def __init__(self, environments: Iterable[Environment]) -> None:
        self._names: dict[Network, dict[str, None]] = {}
        for environment in environments:
            for network in environment.networks:
                self._names.setdefault(network, {})[environment.name] = None
        lengths = {(network.version, network.prefixlen) for network in self._names}
        self._lengths = sorted(lengths, reverse=True)
        self._shared = sorted((one for one, names in self._names.items() if len(names) > 1), key=str)

    def of(self, network: Network) -> str:
        """The environment that a range belongs to, "" where it reaches beyond every network: all that lies in it is meant then.

        The narrowest network that contains it decides, as a route would. AmbiguousRangeError where equal networks do, or
        where equal networks of several environments lie in it.
        """
        for version, length in self._lengths:
            if version == network.version and length <= network.prefixlen:
                names = list(self._names.get(network.supernet(new_prefix=length), ()))
                if len(names) > 1:
                    raise AmbiguousRangeError(network, names)
                if names:
                    return names[0]
        for shared in self._shared:
            if _is_within(shared, network):
                raise AmbiguousRangeError(network, self._names[shared])
        return ""


def _is_within(one: Network, other: Network) -> bool:
    first, last = int(one.network_address), int(one.broadcast_address)
    return one.version == other.version and int(other.network_address) <= first <= last <= int(other.broadcast_address)
