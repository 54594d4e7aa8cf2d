"""What an agent goes by at this moment: its configuration, which may be read again, and the coordinator's plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from agent.config import AgentConfig
from agent.lease import Lease
from probes.child.protocol import Bounds, Configure
from reachability.allow import AllowList
from wire.dial import Endpoint, parse_url
from wire.messages import Plan


class InForce:
    """`plan` is set when one comes, `lease` hears of every order."""

    def __init__(
        self, config: AgentConfig, peer: Callable[[], Endpoint | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`peer` gives where the broker is reached, where that is known."""
        self.plan = Plan(digest="", rate_pps=config.rate_pps)
        self.lease = Lease()
        self._peer, self._clock = peer, clock
        self._held: tuple[float, tuple[tuple[float, int], ...]] = (0.0, ())
        self.take(config)

    def take(self, config: AgentConfig) -> None:
        """Another configuration is in force from now on."""
        self.config = config
        self._allow = AllowList.of(config.allow, config.deny, config.blackouts())

    def hold(self, held: tuple[tuple[float, int], ...]) -> None:
        """What the packet child has in connection tables just now: seconds that each still counts, and how many."""
        self._held = (self._clock(), held)

    def allowed(self) -> tuple[AllowList, str]:
        """The allow-list, and why nothing may be probed now, "" when it may."""
        return self._allow, self.lease.why or self._allow.refuses_now(datetime.now(UTC))

    def configure(self) -> Configure:
        """What the packet child is told."""
        host, port = self._peer() or parse_url(self.config.broker)[0]
        age, held = self._clock() - self._held[0], self._held[1]
        return Configure(
            agent=self.config.name,
            rate_pps=min(self.plan.rate_pps, self.config.rate_pps),
            flows=min(self.plan.flows, self.config.flows or self.plan.flows),
            held=tuple((seconds - age, count) for seconds, count in held if seconds > age),
            broker_host=host,
            broker_port=port,
            bounds=Bounds(
                allow=self.config.allow,
                deny=self.config.deny,
                blackout=self.config.blackouts(),
                rate_pps=self.config.rate_pps,
                flows=self.config.flows,
            ),
        )
