"""Where an agent's batches wait, and where they go."""

from __future__ import annotations

from agent.spool import Spool
from wire.envelope import unpack_up
from wire.messages import Batch
from wire.mqtt import NotConnected


class Wire:
    """A link that notes what is published, and can be cut."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.cut = False

    async def wait_connected(self, after: int = 0) -> int:
        return after

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self.cut:
            raise NotConnected("cut")
        batch = unpack_up(payload)
        assert isinstance(batch, Batch)
        self.sent.append(batch.sequence)


def read(spool: Spool, sequence: int) -> Batch:
    """A batch that waits."""
    message = spool.message(sequence)
    assert message is not None
    batch = unpack_up(message)
    assert isinstance(batch, Batch)
    return batch
