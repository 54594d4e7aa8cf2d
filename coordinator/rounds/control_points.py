"""Where agents' source controls reach this coordinator, and what answers them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from coordinator.broker.addresses import WILDCARDS, Listen, Whereabouts, addresses_of
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.requests import Controls
from reachability.topology import family, is_address

log = structlog.get_logger("coordinator")


class ControlPoints:
    """At what is advertised, and at this machine's addresses of a family that is not. `open`, then `close` at the end."""

    def __init__(self, listen: Listen, advertised: Sequence[Listen], broker: str) -> None:
        """`broker`: the URL of one that an operator runs; "": one of ours, which answers TCP where it listens."""
        self.echo = Echo()
        self._listen, self._own = listen, addresses_of(listen)
        self._own_broker = not broker
        self._advertised = [where for where in advertised if is_address(where.host)]
        families = {family(where.host) for where in self._advertised}
        beside = [Listen(a, listen.port) for a in self._own if family(a) not in families]
        self.controls = Controls(
            tuple(where.endpoint for where in (*self._advertised, *beside)),
            translated=frozenset(where.host for where in self._advertised) - {*self._own},
        )
        found_at = tuple(advertised) or (() if listen.host in WILDCARDS else (listen,))
        broker = broker or (f"mqtts://{','.join(map(str, found_at))}" if found_at else "")
        hosts = dict.fromkeys(where.host for where in (*found_at, *(beside if found_at else ())))
        self._whereabouts = Whereabouts(broker, tuple(hosts))

    async def open(self, pki: Path) -> None:
        """Listen wherever another program does not; leave beside the keys where agents find us, for their bundles."""
        port = self._listen.port
        listening = await self.echo.listen(self._own, port)
        # Who hands TCP on to this machine may hand UDP on too; a control that nobody answers costs a few packets.
        handed_on = [where.host for where in self._advertised] if listening else []
        self.controls = replace(self.controls, echo=frozenset((*listening, *handed_on)))
        taken = (self._listen.dial,) if self._own_broker else ()
        await self.echo.accept([address for address in self._own if address not in taken], port)
        try:
            self._whereabouts.leave(pki)
        except OSError as error:
            log.warning("new bundles have to be told --broker", problem=f"{pki}: {error.strerror}")

    def close(self) -> None:
        """Stop listening."""
        self.echo.close()
