"""What a source or an inside control is asked to do, of a `Go` or an `Arm`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from probes.packets.token import inside_key
from reachability.observation import ControlTarget, Target
from reachability.vocabulary import Role
from wire.messages import Arm, Go

INSIDE_COPIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One side's part in a round of kind normal."""

    round: str
    key: bytes
    targets: tuple[Target, ...]
    role: Role = Role.SOURCE
    networks: tuple[str, ...] = ()  # of its own environment: addresses on the link within them are not elsewhere
    controls: tuple[ControlTarget, ...] = ()
    copies: int = 4
    most_copies: int = 48
    rate_pps: int = 0  # at most; 0: the agent's own
    spread_s: float = 0.0  # from the first pass of a sweep to the last, at least
    own_host: bool = False  # whether this host's own addresses may be probed, which crosses no boundary

    @classmethod
    def source(cls, go: Go) -> Job:
        """The source's job."""
        return cls(
            round=go.round,
            key=go.key,
            targets=go.targets,
            networks=go.networks,
            controls=go.controls,
            copies=go.copies,
            most_copies=go.most_copies,
            rate_pps=go.rate_pps,
            spread_s=go.spread_s,
        )

    @classmethod
    def inside(cls, arm: Arm) -> Job:
        """The inside control's job: up to three copies of each endpoint until it answers, from its own address."""
        return cls(
            round=arm.round,
            key=inside_key(arm.key),
            targets=tuple(replace(target, source="") for target in arm.inside),
            role=Role.INSIDE,
            copies=INSIDE_COPIES,
            most_copies=INSIDE_COPIES,
        )

    @property
    def is_source(self) -> bool:
        """Whether it needs controls of its own."""
        return self.role is Role.SOURCE
