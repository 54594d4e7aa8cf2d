"""What aiomqtt and paho make of the end of a connection, put right: ends that go unreported, and sockets that are gone."""

# ruff: noqa: SLF001 - aiomqtt has no API for any of it

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wire.problem import alert

if TYPE_CHECKING:
    import aiomqtt


def tell_ends(client: aiomqtt.Client, ended: asyncio.Future[str]) -> None:
    """Set `ended` when the connection ends, to the reason where the broker gave one.

    aiomqtt forgets an end before or just after the CONNACK, and is then connected to nothing for ever.
    """
    paho, connected = client._client, client._connected
    theirs: Callable[..., None] = paho.on_socket_close  # type: ignore[assignment]

    def end(why: str = "") -> None:
        # A CONNACK that said no was raised by aiomqtt, and says more.
        declined = connected.done() and not connected.cancelled() and connected.exception()
        if not ended.done() and not declined:
            ended.set_result(why)

    def on_log(_: object, __: object, ___: int, text: str) -> None:
        # With TLS 1.3 a broker refuses a certificate after the handshake: paho logs it, and aiomqtt waits for ever.
        if (why := alert(text)) and not connected.done():
            end(f"it refuses this certificate: {why}")

    def socket_closed(*arguments: Any) -> None:
        theirs(*arguments)
        end()

    def disconnected(future: asyncio.Future[None]) -> None:
        future.exception()  # said already; nobody else may look at it
        end()

    paho.on_socket_close = socket_closed
    paho.on_log = on_log
    client._disconnected.add_done_callback(disconnected)


def write_safely(client: aiomqtt.Client) -> None:
    """Wait for the socket to take bytes only while it is the connection's.

    aiomqtt asks the loop by number at its next turn: by then the socket may be closed, and its number another's.
    """
    paho, loop = client._client, asyncio.get_running_loop()

    def write() -> None:
        try:
            paho.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is over
            if not client._disconnected.done():
                client._disconnected.set_exception(error)

    def listen(sock: socket.socket) -> None:
        if paho.socket() is sock and sock.fileno() >= 0:
            loop.add_writer(sock.fileno(), write)

    def asked(_client: object, _userdata: object, sock: Any) -> None:
        loop.call_soon_threadsafe(listen, sock)

    paho.on_socket_register_write = asked
