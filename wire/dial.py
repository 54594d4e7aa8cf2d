"""Where a broker is, who we are to it, and a TLS connection to it. Knows nothing of MQTT."""

from __future__ import annotations

import random
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reachability.texts import printable

DIAL_S = 5.0  # for one node: name, TCP and TLS together may take three times that
PORT = 8883
Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it.

    `server_name` is the name that its certificate must hold, "" for the host itself. The embedded broker's certificate
    holds a name of its own, so that agents reach it by any address, through NAT too. `more` are a cluster's other nodes.
    """

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    server_name: str = ""
    more: tuple[Endpoint, ...] = ()

    @classmethod
    def parse(cls, url: str, *, ca: Path, certificate: Path, key: Path, server_name: str = "") -> Broker:
        """Read `mqtts://HOST:PORT[,HOST:PORT…]`; ValueError says what is wrong with it."""
        (host, port), *more = parse_url(url)
        return cls(host, port, ca, certificate, key, server_name, tuple(more))

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Its nodes."""
        return ((self.host, self.port), *self.more)

    def __str__(self) -> str:
        """In words, for people."""
        return "broker " + ", ".join(f"{host} port {port}" for host, port in self.endpoints)


def parse_url(url: str) -> tuple[Endpoint, ...]:
    """Host and port (8883 when there is none) of each node in `mqtts://HOST:PORT[,HOST:PORT…]`.

    ValueError says what is wrong.
    """
    scheme, _, nodes = url.partition("://")
    return tuple(_endpoint(f"{scheme}://{node.strip()}", url) for node in nodes.split(","))


def dial(broker: Broker) -> socket.socket:
    """A connected socket to one of its nodes, through the TLS handshake; blocks for a bounded time.

    OSError says what failed, at the last node when there are more.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(broker.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(broker.certificate, broker.key)
    # In random order: agents spread over a cluster, and a node that hangs is not the first every time.
    nodes = random.sample(broker.endpoints, len(broker.endpoints))
    while True:
        host, port = nodes.pop()
        try:
            return _connect(host, port, broker.server_name or host, context)
        except OSError:
            if not nodes:
                raise


def _connect(host: str, port: int, name: str, context: ssl.SSLContext) -> socket.socket:
    sock = socket.create_connection((host, port), timeout=DIAL_S)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(sock, server_hostname=name)
    except BaseException:
        sock.close()
        raise


def _endpoint(node: str, url: str) -> Endpoint:
    parts = urlsplit(node)
    if parts.scheme != "mqtts" or not parts.hostname or parts.path not in {"", "/"} or parts.username:
        raise ValueError(f"'{printable(url[:100])}' is not mqtts://HOST:PORT")
    return parts.hostname, parts.port or PORT
