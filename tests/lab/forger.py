"""What somebody does who holds the broker: reads all that goes down, then plays it again, to others too, and makes up more.

`python forger.py PKI ADDRESS` in the lab's directory: records from when the file `recording` is there until `play` is, and
leaves in `played` how many messages each agent was sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

from nacl.signing import SigningKey

from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from wire.dial import Broker
from wire.messages import Go
from wire.mqtt import Link
from wire.signing import pack_down

FORBIDDEN = "10.99.0.1"
RECORDING, PLAY, PLAYED = Path("recording"), Path("play"), Path("played")


async def main(pki: Path, address: str) -> None:
    stolen = Broker(
        address, 8883, pki / "ca.pem", pki / "coordinator.pem", pki / "coordinator.key", "broker.segwatch.internal"
    )
    link = Link(stolen, subscriptions=[f"segwatch/v1/+/+/down/{channel}" for channel in ("plan", "round", "ack")])
    recorded: list[tuple[str, bytes]] = []
    async with link, asyncio.TaskGroup() as group:

        async def record() -> None:
            async for message in link.messages():
                recorded.append((message.topic, message.payload))
                message.done()

        recorder = group.create_task(record(), name="record")
        await link.wait_connected()
        RECORDING.touch()  # noqa: ASYNC240 - a file each for a test
        while not PLAY.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.05)
        recorder.cancel()
        sent: Counter[str] = Counter()
        agents = sorted({topic.split("/")[3] for topic, _ in recorded})
        where = {topic.split("/")[3]: topic.rpartition("/")[0] for topic, _ in recorded}

        async def play(agent: str, channel: str, payload: bytes, *, own: bool = False) -> None:
            await link.publish(f"{where[agent]}/{channel}", payload)
            sent[agent] += not (own and channel == "ack")  # those are dropped without a word

        for topic, payload in list(recorded):
            agent, channel = topic.split("/")[3], topic.rpartition("/")[2]
            await play(agent, channel, payload, own=True)
            await play(agents[(agents.index(agent) + 1) % len(agents)], channel, payload)
        for agent in agents:
            for destination in (FORBIDDEN, "10.30.0.21"):
                target = Target(
                    id=1, environment="prod", address=destination, protocol=Protocol.TCP, ports=PortSet.parse("1-1000")
                )
                order = Go(round="forged", key=b"k" * 16, kind=RoundKind.NORMAL, targets=(target,))
                await play(agent, "round", pack_down(SigningKey.generate(), agent, 2**52, order, time.time()))
        PLAYED.write_text(json.dumps(sent))  # noqa: ASYNC240


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
