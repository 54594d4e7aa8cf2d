"""Targets that an agent does not touch, as observations that say so."""

from __future__ import annotations

from reachability.observation import Observation, Target
from reachability.vocabulary import Reason, State


def kept_of(targets: tuple[Target, ...], refused: tuple[Observation, ...]) -> tuple[Target, ...]:
    """The targets that are left."""
    gone = {observation.target for observation in refused}
    return tuple(target for target in targets if target.id not in gone)


def error_at(target: Target, reason: Reason, why: str) -> Observation:
    """None of its ports was tried; `why` is in words."""
    return Observation(
        target=target.id,
        source_address=target.source,
        address=target.address,
        protocol=target.protocol,
        state=State.ERROR,
        reason=reason,
        ports=target.ports,
        name=target.name,
        note=why,
    )
