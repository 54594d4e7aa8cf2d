"""A witness that is fed packet by packet, with a gateway that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from probes.host.counters import HostFacts
from probes.packets.build import Template
from probes.packets.parse import IPV4, PACKET_HOST, PACKET_OUTGOING, Packet, parse
from probes.witness.health import WitnessDeps
from probes.witness.witness import Witness
from reachability.arrival import WitnessReport
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from wire.messages import Arm

HERE, SOURCE, OTHER, GATEWAY = "10.30.0.10", "10.10.0.10", "10.20.0.10", "10.30.0.1"
KEY, OTHER_KEY = bytes(range(16)), bytes(range(16, 32))
PORT = 5000
ECHO_REPLY = Packet(
    at=1.5, incoming=True, to_host=True, interface="eth0", family=4, source=GATEWAY, destination=HERE, ttl=64,
    protocol=1, icmp_type=0, icmp_code=0, raw=b"\x45" + bytes(19) + b"whatever else is in it", start=20,
)  # fmt: skip


def arm(name: str, key: bytes, source: str, protocol: Protocol = Protocol.TCP) -> Arm:
    target = Target(
        id=1, environment="prod", address=HERE, protocol=protocol, ports=PortSet.of([PORT]), witness="prod-1"
    )
    return Arm(round=name, key=key, kind=RoundKind.NORMAL, source=source, targets=(target,), networks=("10.30.0.0/24",))


def packet(
    source: str,
    sport: int,
    protocol: Protocol = Protocol.TCP,
    tok: bytes = b"\xff" * 8,
    *,
    back: bool = False,
) -> Packet:
    """A probe to the port; `back`: the same the other way round, going out."""
    ends = (HERE, source) if back else (source, HERE)
    ports = (PORT, sport) if back else (sport, PORT)
    data = Template(*ends, protocol).build(*ports, tok)
    read = parse(data, PACKET_OUTGOING if back else PACKET_HOST, "eth0", IPV4, 1.0)
    assert read is not None
    return read


def new_witness() -> Witness:
    """One whose gateway answers."""
    ticks = (1.0 + n / 1000 for n in range(1 << 20))

    async def provoke(address: str) -> None:
        witness.packet(ECHO_REPLY)

    witness = Witness(
        "prod-1",
        WitnessDeps(
            facts=HostFacts,
            local=lambda: frozenset({HERE}),
            xdp=set,
            gateways=lambda: frozenset({GATEWAY}),
            provoke=provoke,
            drops=lambda: 0,
            now=lambda: next(ticks),
            sleep=lambda _: asyncio.sleep(0),
        ),
    )
    return witness


def witness_of(
    feed: Callable[[Witness], None], *arms: Arm, then: Callable[[Witness], None] = lambda _: None
) -> list[WitnessReport]:
    """The reports of these rounds after the packets; `then` is done after them."""

    async def play() -> list[WitnessReport]:
        witness = new_witness()
        for one in arms:
            assert await witness.arm(one) == ()
        feed(witness)
        reports = [await witness.close(one.round) for one in arms]
        then(witness)
        return reports

    return asyncio.run(play())
