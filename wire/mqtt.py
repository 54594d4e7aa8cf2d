"""The one module that talks MQTT (3.1.1, QoS 1, mutual TLS), used by both sides. It hides the traps of aiomqtt 2.5.

`Link` keeps one connection: it reconnects with jitter, with a new client each time; a message counts as taken only
after `Message.done()`; a publish ends with its connection instead of hanging; a refused subscription is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from wire.blocking import in_thread
from wire.slim import without

# paho wants it, and with it http.client and email, for the proxies of websockets: 1.4 MiB.
with without("urllib.request"):
    import aiomqtt

DIAL_S = 5.0  # name, TCP and TLS together may take three times that
KEEPALIVE_S = 15
INFLIGHT = 20
PUBLISH_S = 15.0
FIRST_DELAY_S, MOST_DELAY_S = 0.25, 10.0
REFUSED_SUBACK = 0x80


class NotConnected(ConnectionError):  # noqa: N818 - reads as what it is
    """There is no connection, or it ended before the broker confirmed the message."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it.

    `server_name` is the name that its certificate must hold, "" for the host itself. The embedded broker's certificate
    holds a name of its own, so that agents reach it by any address, through NAT too.
    """

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    server_name: str = ""

    @classmethod
    def parse(cls, url: str, *, ca: Path, certificate: Path, key: Path, server_name: str = "") -> Broker:
        """Read `mqtts://HOST:PORT`; ValueError says what is wrong with it."""
        host, port = parse_url(url)
        return cls(host, port, ca, certificate, key, server_name)


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

    `problem` says in words why it is not connected, `connections` counts how often it was.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscriptions: Sequence[str] = (),
        will: Callable[[], Will] | None = None,
        name: str = "segwatch",
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.problem = "not connected yet"
        self.connections = 0
        self._broker = broker
        self._subscriptions = tuple(subscriptions)
        self._will = will
        # Whoever brings a client's id takes over its session, whatever its certificate says: ids must be unguessable.
        self._id = f"{name}-{secrets.token_hex(12)}"
        self._log = log
        self._client: aiomqtt.Client | None = None
        self._lost: asyncio.Future[None] | None = None
        self._changed = asyncio.Condition()
        self._window = asyncio.Semaphore(INFLIGHT)
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()  # the broker's window bounds it
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection with all its subscriptions."""
        return self._client is not None

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
            client, lost = self._client, self._lost
            if client is None or lost is None:
                raise NotConnected(self.problem)
            # aiomqtt would wait for its time-out when the connection drops meanwhile.
            sending = asyncio.get_running_loop().create_task(
                client.publish(topic, payload, qos=1, retain=retain, timeout=PUBLISH_S), name=f"publish {topic}"
            )
            try:
                await asyncio.wait({sending, lost}, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    raise NotConnected("the connection ended before the broker confirmed the message")
                await sending
            except aiomqtt.MqttError as error:
                raise NotConnected(f"the message was not sent: {error}") from error
            finally:
                if not sending.done():
                    sending.cancel()
                    with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                        await sending

    async def _keep_connected(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            before = self.connections
            try:
                await self._one_connection()
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                problem = _in_words(error, self._broker)
                if problem != self.problem:
                    self._log(problem)
                self.problem = problem
            delay = FIRST_DELAY_S if self.connections > before else min(delay * 2, MOST_DELAY_S)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, no secret

    async def _one_connection(self) -> None:
        """Connect, subscribe and receive until the connection ends, which raises."""
        sock = await in_thread(lambda: dial(self._broker), "dial", discard=socket.socket.close)
        try:
            client = self._new_client(sock)
            async with client:
                client.timeout = DIAL_S
                for topic in self._subscriptions:
                    await self._subscribe(client, topic)
                await self._up(client)
                try:
                    async for message in client.messages:
                        self._incoming.put_nowait(_incoming(client, message))
                finally:
                    client.timeout = 0.5  # for the disconnect, which need not be answered
                    self._down()
        finally:
            sock.close()

    def _new_client(self, sock: socket.socket) -> aiomqtt.Client:
        """A client for one connection: a second use of one returns before its CONNACK."""
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
        )
        client.pending_calls_threshold = INFLIGHT + len(self._subscriptions)
        paho = client._client  # noqa: SLF001 - manual acknowledgement is not in aiomqtt's API (empicano/aiomqtt#345)
        paho.manual_ack_set(on=True)
        # paho would connect in a thread that cannot be cancelled and holds up the exit; ours is connected already.
        paho._create_socket = lambda: sock  # type: ignore[method-assign]  # noqa: SLF001
        return client

    async def _subscribe(self, client: aiomqtt.Client, topic: str) -> None:
        codes = await client.subscribe(topic, qos=1)
        if any(getattr(code, "value", code) >= REFUSED_SUBACK for code in codes):
            raise ConnectionRefusedError(f"the broker refuses the subscription to {topic}")

    async def _up(self, client: aiomqtt.Client) -> None:
        async with self._changed:
            self._client = client
            self._lost = asyncio.get_running_loop().create_future()
            self.connections += 1
            self.problem = ""
            self._changed.notify_all()

    def _down(self) -> None:
        self._client = None
        self.problem = "the connection to the broker ended"
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of `mqtts://HOST:PORT` (8883 when there is none); ValueError says what is wrong."""
    parts = urlsplit(url)
    if parts.scheme != "mqtts" or not parts.hostname or parts.path not in {"", "/"} or parts.username:
        raise ValueError(f"'{url}' is not mqtts://HOST:PORT")
    return parts.hostname, parts.port or 8883


def dial(broker: Broker) -> socket.socket:
    """A connected socket, through the TLS handshake; blocks for a bounded time. OSError says what failed."""
    sock = socket.create_connection((broker.host, broker.port), timeout=DIAL_S)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(broker.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(broker.certificate, broker.key)
        return context.wrap_socket(sock, server_hostname=broker.server_name or broker.host)
    except BaseException:
        sock.close()
        raise


def _incoming(client: aiomqtt.Client, message: aiomqtt.Message) -> Message:
    payload = message.payload
    assert isinstance(payload, bytes | bytearray)
    mid, qos = message.mid, message.qos

    def done() -> None:
        # On a connection that is gone this has no effect: the broker sends the message again on the next.
        if qos and not client._disconnected.done():  # noqa: SLF001 - see above
            client._client.ack(mid, qos)  # noqa: SLF001

    return Message(str(message.topic), bytes(payload), bool(message.retain), done)


def _in_words(error: Exception, broker: Broker) -> str:
    where = f"broker {broker.host} port {broker.port}"
    match error:
        case ssl.SSLCertVerificationError():
            return f"{where}: its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"{where}: TLS fails: {error.reason or error}"
        case socket.gaierror():
            return f"{where}: the name does not resolve: {error.strerror}"
        case TimeoutError():
            return f"{where}: no answer within {DIAL_S:.0f} s"
        case OSError() if error.strerror:
            return f"{where}: {error.strerror}"
    return f"{where}: {error}"
