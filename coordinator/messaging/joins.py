"""Answers hosts that enrol themselves with a one-time token, by the broker; see `wire.joining`.

While no token waits, the broker lets nobody in for that, and nothing listens here. Who floods with a token is shut out with
everybody who has one, for a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Iterable
from typing import Protocol

import structlog

from coordinator.broker import pki
from coordinator.broker.addresses import Whereabouts, own_interfaces
from coordinator.broker.bundle import allowed, configuration, resolve
from coordinator.broker.join_tokens import redeem, waits
from coordinator.settings import Settings
from coordinator.state.estate import Estate
from reachability.topology import Topology, is_address
from wire import joining
from wire.dial import Broker, parse_url
from wire.mqtt import Link, NotConnected
from wire.topics import NAME

LOOK_S = 0.2
MOST, WITHIN_S, SHUT_S = 60, 10.0, 60.0

log = structlog.get_logger("joins")


class Door(Protocol):
    """The broker, which lets in who has a token, or does not."""

    def endpoint(self) -> Broker:
        """Where the coordinator reaches it."""
        ...

    async def let_join(self, *, joining: bool) -> None:
        """Open or shut."""
        ...


class Joins:
    """Opens the way of joining while a token waits, and answers there. `run` is for ever."""

    def __init__(self, settings: Settings, broker: Door, estate: Estate) -> None:
        self._directory, self._life = settings.pki, settings.certificate_life
        self._broker, self._estate = broker, estate
        self._key = pki.load_signing_key(settings.pki)
        self._shut_until = float("-inf")
        self._came: list[float] = []

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            if not self._is_open():
                await asyncio.sleep(LOOK_S)
                continue
            await self._broker.let_join(joining=True)
            try:
                await self._serve()
            finally:
                await self._broker.let_join(joining=False)

    async def _serve(self) -> None:
        link = Link(self._broker.endpoint(), subscriptions=(joining.ASK,), name="coordinator-joins")
        async with link, asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(link), name="answers to joins")
            while self._is_open() and not answering.done():
                await asyncio.wait({answering}, timeout=LOOK_S)
            answering.cancel()

    def _is_open(self) -> bool:
        return time.monotonic() >= self._shut_until and waits(self._directory, self._estate.clock())

    async def _answer(self, link: Link) -> None:
        async for message in link.messages():
            message.done()
            if self._floods():
                return
            try:
                answer = await self.answer(message.payload)
            except Exception as error:  # noqa: BLE001 - no message ends the coordinator
                log.error("a request to join raises", problem=f"{type(error).__name__}: {error}"[:200])  # noqa: TRY400
                continue
            if answer is None:
                continue
            with contextlib.suppress(NotConnected):  # it asks again
                await link.publish(f"{joining.ANSWERS}/{answer.nonce.hex()}", joining.sign_answer(self._key, answer))

    def _floods(self) -> bool:
        now = time.monotonic()
        self._came = [at for at in self._came if now - at < WITHIN_S] + [now]
        if len(self._came) <= MOST:
            return False
        self._shut_until, self._came = now + SHUT_S, []
        log.error("flood", text=f"somebody floods with a one-time token: nobody joins for {SHUT_S:.0f} s")
        return True

    async def answer(self, payload: bytes) -> joining.Answer | None:
        """What is said to a request; None to what is not one."""
        topology = self._estate.topology
        try:
            ask = joining.read_ask(payload)
            if len(ask.nonce) != joining.NONCE or not NAME.match(ask.agent):
                raise joining.BadJoin("it has no nonce, or no agent's name")
            parse_url(ask.broker)
        except ValueError as error:
            log.warning("a request to join is not one", why=str(error))
            return None
        now = dt.datetime.fromtimestamp(self._estate.clock(), dt.UTC)
        try:
            held = await asyncio.to_thread(redeem, self._directory, payload, topology.agents(), now, self._life)
            given = await asyncio.to_thread(self._configuration, topology, ask)
            trust = pki.trust(self._directory).pem
        except (pki.RequestRefused, pki.PkiError, OSError) as error:
            log.warning("no host is enrolled", agent=ask.agent, why=str(error))
            refused = isinstance(error, pki.RequestRefused)
            return joining.Answer(
                nonce=ask.nonce, problem=str(error) if refused else "it cannot sign: its own log says why"
            )
        log.info("a host is enrolled", agent=ask.agent)
        return joining.Answer(nonce=ask.nonce, certificate=held, configuration=given, trust=trust)

    def _configuration(self, topology: Topology, ask: joining.Ask) -> bytes:
        """With the broker as the host reaches it; a name that the host said is not looked up here."""
        named = [host for host, _ in parse_url(ask.broker) if is_address(host)]
        known: Iterable[str] = [a for host in Whereabouts.of(self._directory).hosts for a in resolve(host)]
        return configuration(topology, ask.agent, ask.broker, allowed(topology, (*named, *known), own_interfaces()))
