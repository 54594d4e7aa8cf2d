"""A broker that an operator runs: what must be brought to it is said."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from coordinator.broker.addresses import Listen
from coordinator.broker.external import ExternalBroker
from reachability.topology import DeclaredAgent, Environment, Topology


def of(*agents: str) -> Topology:
    declared = {agent: DeclaredAgent(agent) for agent in agents}
    return Topology({"dev": Environment("dev", (ip_network("10.10.0.0/24"),), declared)})


@pytest.mark.asyncio
async def test_who_must_be_told_to_it_is_said() -> None:
    said: list[str] = []
    broker = ExternalBroker(
        of("dev-1", "dev-2"),
        Path("pki"),
        "mqtts://10.0.0.1",
        Listen("127.0.0.1", 1),
        generations={"dev-1": 5},
        log=said.append,
    )
    await broker.reload(of("dev-2", "dev-1"))
    assert said == []
    await broker.reload(of("dev-1", "dev-3"))
    await broker.revoke({"dev-1": 5, "dev-3": 6})
    await broker.revoke({"dev-1": 7, "dev-3": 6})
    assert [line.partition(")")[0] for line in said] == [
        "the agents changed (dev-2, dev-3",
        "certificates are revoked (dev-3",
        "certificates are revoked (dev-1",
    ]
    assert all(line.endswith("segwatch pki broker") for line in said)
