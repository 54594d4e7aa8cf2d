"""What an agent says of itself: its statuses, numbered."""

from __future__ import annotations

import time

from agent.challenges import Challenges
from agent.config import AgentConfig
from agent.identity import own_addresses
from agent.renewal import Held
from agent.spool import Spool
from agent.standstill import Standstill
from agent.upkey import Signer
from wire.messages import VERSION, Status
from wire.refusals import Refusals


class Statuses:
    """Of one start of an agent; made of what it has."""

    def __init__(
        self, instance: str, challenges: Challenges, signer: Signer, spool: Spool, refusals: Refusals, still: Standstill
    ) -> None:
        self._instance, self._challenges, self._signer = instance, challenges, signer
        self._spool, self._refusals, self._still = spool, refusals, still
        self._number = 0

    def next(
        self, config: AgentConfig, *, online: bool, lacks: str, not_now: str, held: Held | None, connections: int
    ) -> Status:
        """`lacks`: why there are no raw packets; `not_now`: why nothing is sent; `held`: the certificate in use."""
        self._number += 1
        certificate, key, proof = self._signer.shown()
        return Status(
            name=config.name,
            environment=config.environment,
            online=online,
            version=VERSION,
            instance=self._instance,
            addresses=own_addresses(),
            raw=not lacks,
            lacks=lacks,
            rate_pps=config.rate_pps,
            flows=config.flows,
            spooled=len(self._spool),
            lost=self._spool.gap,
            untold=self._spool.untold,
            refused=self._refusals.newest,
            refusals=self._refusals.count,
            sent_at=time.time(),
            traces=True,
            number=self._number,
            challenge=self._challenges.current() if online else b"",
            certificate=certificate,
            key=key,
            proof=proof,
            certificate_from=held.starts if held else 0.0,
            certificate_until=held.ends if held else 0.0,
            generation=held.generation if held else -1,
            ca=held.ca if held else "",
            trust=held.trust if held else "",
            connections=connections,
            stopped=self._still.stopped,
            not_now=not_now,
        )
