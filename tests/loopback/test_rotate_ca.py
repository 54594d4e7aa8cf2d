"""A new CA while everybody goes on: a real coordinator, its real broker, agents that renew over their own channel."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.config import broker_of, load
from tests.loopback.agents import agent
from tests.loopback.coordinators import Running, coordinator
from tests.loopback.estate import connected
from tests.loopback.hosts import TOPOLOGY, join, token
from tests.support.waiting import until
from wire.mqtt import Link

HERE = ("--dir", "pki", "-f", "topology.yaml")


def agents_of(running: Running) -> dict[str, Any]:
    return {agent["name"]: agent for agent in json.loads(running.request("GET", "/api/v1/status")[1])["agents"]}


async def agents_are(running: Running, **wanted: Any) -> None:
    """Until every agent says so."""

    async def so() -> bool:
        found = await asyncio.to_thread(agents_of, running)
        return all(one[key] == value for one in found.values() for key, value in wanted.items())

    while not await so():  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0.2)


def trusted(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


@pytest.mark.long
@pytest.mark.asyncio
async def test_agents_come_over_by_themselves_and_then_what_is_of_the_old_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.renewal.SPREAD_S", 0.5)
    names = ("dev-1", "prod-1")
    (tmp_path / "c").mkdir()
    # Of so short a life the next one is granted after seconds.
    with coordinator(tmp_path / "c", topology=TOPOLOGY, more=("--certificate-life", "5m")) as running:

        async def by_hand(*line: str) -> tuple[int, str]:
            done = await asyncio.to_thread(running.cli, *line)
            return done.returncode, done.stdout + done.stderr

        for name in names:
            done = await asyncio.to_thread(join, token(running, name), tmp_path / name)
            assert done.returncode == 0, done.stderr
        stolen = broker_of(load(tmp_path / "dev-1"), tmp_path / "dev-1")
        (old,) = trusted(tmp_path / "dev-1" / "ca.pem")
        waiting = token(running, "prod-1")
        async with asyncio.timeout(240):
            async with (
                agent(load(tmp_path / "dev-1"), tmp_path / "dev-1") as first,
                agent(load(tmp_path / "prod-1"), tmp_path / "prod-1") as second,
            ):
                await agents_are(running, state="connected", rotation=None)
                code, said = await by_hand("pki", "rotate-ca", *HERE)
                assert code == 0, said
                code, said = await by_hand("pki", "rotate-ca", "--finish", *HERE)
                assert code == 2, said
                assert "dev-1 was not heard of" in said or "dev-1 still has" in said
                await until(lambda: all((tmp_path / name / "trust.pem").exists() for name in names))
                record = tmp_path / "c" / "pki" / "rotation.json"
                await until(lambda: record.exists() and not any(json.loads(record.read_bytes())["agents"].values()))
                await agents_are(running, state="connected", rotation=None)
                assert len(trusted(tmp_path / "dev-1" / "trust.pem")) == 2
                assert old in trusted(tmp_path / "prod-1" / "trust.pem")
                async with Link(replace(stolen, ca=tmp_path / "dev-1" / "trust.pem")) as thief:
                    await connected(thief)  # until it is finished
                    code, said = await by_hand("pki", "rotate-ca", "--finish", *HERE)
                    assert code == 0, said
                    await until(lambda: "it refuses this certificate" in thief.problem)
                    assert thief.connections == 1
                await until(lambda: all(len(trusted(tmp_path / name / "trust.pem")) == 1 for name in names))
                await connected(first._link, second._link)
                await agents_are(running, state="connected", rotation=None)
                lost = [agent["lost"] for agent in (await asyncio.to_thread(agents_of, running)).values()]
                assert [(each["batches"], each["untold"]) for each in lost] == [(0, 0), (0, 0)]
        late = await asyncio.to_thread(join, waiting, tmp_path / "late")
        assert late.returncode == 2
        assert "made since its CA was rotated last?" in late.stderr
        refused = json.loads(running.request("GET", "/api/v1/status")[1])["refused"]
        assert not [why for why in refused["newest"] if "certificate" in why], "nobody was disbelieved on the way"


@pytest.mark.asyncio
async def test_a_token_of_before_enrols_a_host_with_the_new_ca(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with coordinator(tmp_path / "c", topology=TOPOLOGY) as running:
        line = token(running)
        done = await asyncio.to_thread(running.cli, "pki", "rotate-ca", *HERE)
        assert done.returncode == 0, done.stderr
        joined = await asyncio.to_thread(join, line, tmp_path / "dev-1")
        assert joined.returncode == 0, joined.stderr
        new, old = trusted(tmp_path / "dev-1" / "ca.pem")
        held = x509.load_pem_x509_certificate((tmp_path / "dev-1" / "agent.pem").read_bytes())
        assert held.issuer == new.subject != old.subject
        async with Link(broker_of(load(tmp_path / "dev-1"), tmp_path / "dev-1")) as link:
            await connected(link)
