"""The one module that talks MQTT (3.1.1, QoS 1, mutual TLS), used by both sides. It hides the traps of aiomqtt 2.5.

`Link` keeps one connection: it reconnects with jitter, with a new client each time; a message counts as taken only
after `Message.done()`; a publish ends with its connection instead of hanging; a refused subscription is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from wire.dial import DIAL_S, Broker, Endpoint, dial
from wire.ends import tell_ends, write_safely
from wire.problem import Refused, in_words, is_refusal
from wire.process.blocking import in_thread
from wire.process.slim import without

# paho wants them, and with them http.client and email, for proxies of websockets and SRV records: 1.4 MiB and more.
with without("urllib.request", "dns"):
    import aiomqtt

KEEPALIVE_S = 15
DISCONNECT_S = 0.5  # which need not be answered
INFLIGHT = 20
PUBLISH_S = 15.0
FIRST_DELAY_S, MOST_DELAY_S = 0.25, 10.0
STEADY_S = 10.0  # what ends sooner may be taken from us by another process of our name, and again at once
REFUSED_SUBACK = 0x80
LET_IN = "before it let us in: does it take this certificate, and does it speak MQTT 3.1.1?"
T = TypeVar("T")
# aiomqtt's and paho's own words; what counts is said by `Link`. Without a handler they would go to stderr.
_SILENT = logging.getLogger("segwatch.mqtt")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class NotConnected(ConnectionError):  # noqa: N818 - reads as what it is
    """There is no connection, or it ended before the broker confirmed the message."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when the connection ends without a word."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came in. The broker sends it again until `done` is called, so a receiver must take duplicates."""

    topic: str
    payload: bytes
    retained: bool
    done: Callable[[], None] = field(compare=False)


class Link:
    """A connection to the broker that comes back. Use it as an async context; `messages()` has one reader.

    `problem` says in words why it is not connected, and `refused` whether that is the broker's answer rather than
    silence; `connections` counts how often it was.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscriptions: Sequence[str] = (),
        will: Callable[[], Will] | None = None,
        name: str = "segwatch",
        log: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.problem = "not connected yet"
        self.refused = False
        self.connections = 0
        self._up_since = 0.0
        self._broker = broker
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._name = name
        self._id = self._new_id()
        self._log, self._sleep = log, sleep
        self._client: aiomqtt.Client | None = None
        self._peer: Endpoint | None = None
        self._ended: asyncio.Future[str] | None = None
        self._switching = False
        self._changed = asyncio.Condition()
        self._window = asyncio.Semaphore(INFLIGHT)
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()  # the broker's window bounds it
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection with all its subscriptions."""
        return self._client is not None

    @property
    def peer(self) -> Endpoint | None:
        """Address and port at which the broker is reached by the newest connection, None before the first."""
        return self._peer

    async def __aenter__(self) -> Self:
        """Start connecting; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=f"link {self._broker.host}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect in good order: no last will."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def wait_connected(self, after: int = 0) -> int:
        """Wait until the connection is up for more than the `after`-th time; returns which time it is."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.connected and self.connections > after)
            return self.connections

    async def messages(self) -> AsyncIterator[Message]:
        """Every message, over all connections. A duplicate may come after a reconnect; acknowledging it is harmless."""
        while True:
            yield await self._incoming.get()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the broker; NotConnected when it did not confirm (it may still arrive).

        The broker's word proves nothing: it acknowledges what its ACL denies. Only the other side's answer does.
        """
        async with self._window:
            if self._client is None or self._ended is None:
                raise NotConnected(self.problem)
            sending = self._client.publish(topic, payload, qos=1, retain=retain, timeout=PUBLISH_S)
            try:
                await _until_ended(self._ended, sending, "before it confirmed the message")
            except aiomqtt.MqttError as error:
                raise NotConnected(f"the message was not sent: {error}") from error

    def use(self, certificate: Path, key: Path, ca: Path) -> None:
        """Connect with these from now on. A connection that is up ends in good order, without a will, and comes back."""
        self._broker = replace(self._broker, certificate=certificate, key=key, ca=ca)
        if self._client is not None:
            self._switching = True
            self._client._client.disconnect()  # noqa: SLF001 - aiomqtt does it at the end of its context only

    async def _keep_connected(self) -> None:
        delay, clock = FIRST_DELAY_S, asyncio.get_running_loop().time
        while True:
            before = self.connections
            try:
                await self._one_connection()
            except (aiomqtt.MqttError, OSError, ValueError, Refused) as error:
                if self._switching:
                    self._switching = False
                    continue
                self.refused = is_refusal(error, _connack(error))
                problem = in_words(error, self._broker, _connack(error))
                if problem != self.problem:
                    self._log(problem)
                self.problem = problem
            delay = next_delay(delay, clock() - self._up_since if self.connections > before else 0.0)
            await self._sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, no secret

    def _new_id(self) -> str:
        # Whoever brings a client's id takes over its session, whatever its certificate says: ids must be unguessable.
        return f"{self._name}-{secrets.token_hex(12)}"

    async def _one_connection(self) -> None:
        """Connect, subscribe and receive until the connection ends, which raises."""
        ended, before = asyncio.get_running_loop().create_future(), self.connections
        client = self._new_client(ended)
        sock = await in_thread(lambda: dial(self._broker), "dial", discard=socket.socket.close)
        paho = client._client  # noqa: SLF001 - as in _new_client
        # paho would connect in a thread that cannot be cancelled and holds up the exit; ours is connected already.
        paho._create_socket = lambda: sock  # type: ignore[method-assign]  # noqa: SLF001
        try:
            async with contextlib.AsyncExitStack() as stack:
                self._peer = sock.getpeername()[:2]
                await _until_ended(ended, stack.enter_async_context(client), LET_IN)
                stack.callback(setattr, client, "timeout", DISCONNECT_S)
                for topic in self._subscriptions:
                    codes = await _until_ended(
                        ended, client.subscribe(topic, qos=1, timeout=DIAL_S), f"at the subscription to {topic}"
                    )
                    if any(getattr(code, "value", code) >= REFUSED_SUBACK for code in codes):
                        raise Refused(f"the broker refuses the subscription to {topic}")
                await self._up(client, ended)
                stack.callback(self._down)
                await _until_ended(ended, self._receive(client), "while we listened")
        finally:
            # aiomqtt leaves a socket that had no CONNACK in the loop's books: the next of that number would hear nothing.
            await asyncio.sleep(0)  # what paho has asked of the loop comes first
            paho._sock_close()  # noqa: SLF001
            sock.close()
            if self.connections == before:  # a cluster may hold on to the session of an id on a node that is gone
                self._id = self._new_id()

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self._incoming.put_nowait(_incoming(client, message))

    def _new_client(self, ended: asyncio.Future[str]) -> aiomqtt.Client:
        """A client for one connection: a second use of one returns before its CONNACK.

        `ended` is set when it ends, to the reason where the broker gave one.
        """
        will = self._will() if self._will else None
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            identifier=self._id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,  # what counts is spooled and sent again until it is acknowledged end to end
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain) if will else None,
            timeout=DIAL_S,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=INFLIGHT,
            logger=_SILENT,
        )
        # Manual acknowledgement is not in aiomqtt's API (empicano/aiomqtt#345).
        client._client.manual_ack_set(on=True)  # noqa: SLF001
        client.pending_calls_threshold = INFLIGHT + len(self._subscriptions)
        tell_ends(client, ended)
        write_safely(client)
        return client

    async def _up(self, client: aiomqtt.Client, ended: asyncio.Future[str]) -> None:
        async with self._changed:
            self._client, self._ended = client, ended
            self.connections += 1
            self._up_since = asyncio.get_running_loop().time()
            self.problem = ""
            self._changed.notify_all()

    def _down(self) -> None:
        self._client = None
        self.problem = "the connection to the broker ended"


def next_delay(delay_s: float, lasted_s: float) -> float:
    """Seconds before the next try, after `delay_s` before the last and a connection that lasted so long (0: none came)."""
    return FIRST_DELAY_S if lasted_s >= STEADY_S else min(2 * delay_s, MOST_DELAY_S)


async def _until_ended(ended: asyncio.Future[str], asked: Coroutine[Any, Any, T], when: str) -> T:
    """What the broker answers; NotConnected or Refused when the connection ends first: aiomqtt would wait for ever."""
    asking = asyncio.get_running_loop().create_task(asked, name=f"broker, {when}")
    waits: tuple[asyncio.Future[Any], ...] = (asking, ended)
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            if why := ended.result():
                raise Refused(why)
            raise NotConnected(f"the broker ended the connection {when}")
        return await asking
    finally:
        if not asking.done():
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await asking


def _incoming(client: aiomqtt.Client, message: aiomqtt.Message) -> Message:
    payload = message.payload
    assert isinstance(payload, bytes | bytearray)
    mid, qos = message.mid, message.qos

    def done() -> None:
        # On a connection that is gone this has no effect: the broker sends the message again on the next.
        if qos and not client._disconnected.done():  # noqa: SLF001 - see above
            client._client.ack(mid, qos)  # noqa: SLF001

    return Message(str(message.topic), bytes(payload), bool(message.retain), done)


def _connack(error: Exception) -> object:
    """The code by which the broker declined, None where it did not."""
    return getattr(error.rc, "value", error.rc) if isinstance(error, aiomqtt.exceptions.MqttConnectError) else None
