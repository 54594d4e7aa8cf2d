"""A broker that an operator runs: where it is, and what must be brought to it when agents change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.embedded import EmbeddedBroker, check_bindable
from reachability.topology import Topology
from wire.dial import Broker

log = structlog.get_logger("coordinator")


class ExternalBroker:
    """A broker or cluster that an operator runs (`segwatch pki broker` writes its configuration): nothing to start."""

    valid = (0.0, 0.0)  # its certificate is the operator's to renew

    def __init__(
        self,
        topology: Topology,
        pki_dir: Path,
        url: str,
        listen: Listen,
        *,
        generations: Mapping[str, int] | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._topology = topology
        self._generations = dict(generations or {})
        self._pki = pki_dir
        self._url = url
        self._listen = listen
        self._log = log

    def endpoint(self) -> Broker:
        """Where the coordinator's own `Link` connects to, and as who."""
        return Broker.parse(
            self._url,
            ca=self._pki / "ca.pem",
            certificate=self._pki / "coordinator.pem",
            key=self._pki / "coordinator.key",
            server_name=pki.BROKER_NAME,
        )

    async def start(self) -> None:
        """BrokerError when agents' controls cannot reach this machine where they are told to."""
        check_bindable(self._listen.host, 0, "the coordinator")

    async def reload(self, topology: Topology, cut: Collection[str] = ()) -> None:  # noqa: ARG002 - as the embedded one's
        """Say that the broker must be told of a change among the agents: their rights are the broker's to give and take.

        Whoever is `cut` stays connected, and is not read.
        """
        before, now = set(self._topology.agents()), set(topology.agents())
        self._topology = topology
        if before != now:
            names = ", ".join(sorted(before ^ now))
            self._log(f"the agents changed ({names}): write the broker's configuration anew by segwatch pki broker")

    async def revoke(self, generations: Mapping[str, int]) -> None:
        """Say whom the broker must be told to refuse."""
        names = ", ".join(
            sorted(agent for agent, held in generations.items() if self._generations.get(agent, 0) != held)
        )
        self._generations = dict(generations)
        self._log(
            f"certificates are revoked ({names}) and the broker lets them in until its configuration is written anew by"
            " segwatch pki broker"
        )

    async def trust(self, *, finished: bool) -> None:  # noqa: ARG002 - as the embedded one's
        """Say that the broker must be told which CAs are trusted."""
        self._log(
            "the CA is rotated: write the broker's configuration and certificate anew by segwatch pki broker, now"
        )

    def take_up(self) -> None:
        """Its rules are brought to it by its operator."""

    def look_at_disk(self) -> None:
        """It is on its operator's."""

    def restart(self) -> None:
        """It is its operator's to start."""

    async def let_join(self, *, joining: bool) -> None:
        """It lets in whom its own configuration names: a host that is to use it needs a bundle."""

    async def renew(self, now: dt.datetime) -> bool:  # noqa: ARG002 - as the embedded one's
        """It is not ours to renew."""
        return False

    async def stop(self) -> None:
        """It is not ours to stop."""


def broker_of(
    url: str,
    topology: Topology,
    pki_dir: Path,
    state_dir: Path,
    listen: Listen,
    held: Mapping[str, int],
    server: Path | None = None,
) -> EmbeddedBroker | ExternalBroker:
    """The one at the URL, which an operator runs, or one of our own where it is "".

    `pki_dir` has the keys, `held` the generations of certificates that are in force; `server` is the program of our own one.
    """

    def say(problem: str) -> None:
        log.error("broker", problem=problem)

    if url:
        return ExternalBroker(topology, pki_dir, url, listen, generations=held, log=say)
    return EmbeddedBroker(topology, pki_dir, state_dir, listen, generations=held, log=say, server=server)
