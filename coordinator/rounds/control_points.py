"""Where agents' source controls reach this coordinator, and what answers them there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from coordinator.broker.addresses import WILDCARDS, Listen, Whereabouts, addresses_of
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.requests import Controls
from reachability.topology import family, is_address
from wire.process.blocking import in_thread

log = structlog.get_logger("coordinator")
LOOKUP_S = 3.0


def looked_up(name: str) -> list[str]:
    """The addresses of a name, by this host's own resolver; blocks."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


class ControlPoints:
    """At what is advertised, and at this machine's addresses of a family that is not. `open`, then `close` at the end."""

    def __init__(
        self, listen: Listen, advertised: Sequence[Listen], broker: str, lookup: Callable[[str], list[str]] = looked_up
    ) -> None:
        """`broker`: the URL of one that an operator runs; "": one of ours, which answers TCP where it listens.

        Agents know where they are connected to ours, by whatever name. Where the broker is another host, `lookup` says
        which addresses an advertised name has.
        """
        self.echo = Echo()
        self._listen, self._own = listen, addresses_of(listen)
        self._own_broker = not broker
        self._advertised = [where for where in advertised if is_address(where.host)]
        self._named = () if self._own_broker else tuple(w for w in advertised if not is_address(w.host))
        self._lookup = lookup
        beside = self._beside()
        self.controls = self._controls()
        found_at = tuple(advertised) or (() if listen.host in WILDCARDS else (listen,))
        broker = broker or (f"mqtts://{','.join(map(str, found_at))}" if found_at else "")
        hosts = dict.fromkeys(where.host for where in (*found_at, *(beside if found_at else ())))
        self._whereabouts = Whereabouts(broker, tuple(hosts))

    def _beside(self) -> list[Listen]:
        families = {family(where.host) for where in self._advertised}
        return [Listen(address, self._listen.port) for address in self._own if family(address) not in families]

    def _controls(self) -> Controls:
        return Controls(
            tuple(where.endpoint for where in (*self._advertised, *self._beside())),
            translated=frozenset(where.host for where in self._advertised) - {*self._own},
        )

    async def _look_up(self) -> None:
        for where in self._named:
            try:
                async with asyncio.timeout(LOOKUP_S):
                    found = await in_thread(partial(self._lookup, where.host), "advertised name")
            except (OSError, UnicodeError) as error:  # a timeout is one
                why = getattr(error, "strerror", None) or str(error) or f"no answer within {LOOKUP_S:.0f} s"
                log.warning(
                    "no source control goes to an advertised name: advertise its address", name=where.host, problem=why
                )
                continue
            self._advertised += [Listen(address, where.port) for address in dict.fromkeys(found)]
        self.controls = self._controls()

    async def open(self, pki: Path) -> None:
        """Listen wherever another program does not; leave beside the keys where agents find us, for their bundles."""
        await self._look_up()
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
