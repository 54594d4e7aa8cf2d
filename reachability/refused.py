"""Targets that an agent does not touch, as observations that say so."""

from __future__ import annotations

from collections.abc import Callable

from reachability.observation import Observation, Target
from reachability.topology import is_address
from reachability.vocabulary import Reason, State


def refusals(
    targets: tuple[Target, ...], refuses: Callable[[str], str]
) -> tuple[tuple[Observation, ...], tuple[str, ...]]:
    """Error observations for the targets that must not be touched, and why, each reason once.

    `refuses` says why an address must not be, "" when it may.
    """
    reasons = {target: refuses(target.address) for target in targets if is_address(target.address)}
    refused = [error_at(target, Reason.NOT_ALLOWED, why) for target, why in reasons.items() if why]
    # A name that did not resolve goes nowhere, and no further: what looks names up is not what sends.
    refused += [error_at(target, Reason.RESOLVE_FAILED, "") for target in targets if target not in reasons]
    return tuple(refused), tuple(dict.fromkeys(why for why in reasons.values() if why))


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
