"""The packet rate: never more than it allows, whatever is asked for at a time."""

from __future__ import annotations

import pytest

from probes.packets.raw_socket import BURST_S, Bucket
from tests.support.virtual import now, run

RATE = 4000


@pytest.mark.parametrize("at_once", [1, 7, int(RATE * BURST_S), int(RATE * BURST_S) + 3, 1000])
def test_the_rate_holds_whatever_is_taken_at_once(at_once: int) -> None:
    async def main() -> float:
        bucket = Bucket(RATE)
        for _ in range(20_000 // at_once):
            await bucket.take(at_once)
        return now()

    allowed = run(main()) * RATE + RATE * BURST_S + at_once
    assert 0.95 * 20_000 < allowed < 1.1 * 20_000 + 2 * at_once


def test_more_than_it_holds_is_let_through_and_paid_back() -> None:
    async def main() -> float:
        bucket = Bucket(RATE)
        await bucket.take(1000)
        before = now()
        await bucket.take(1)
        return now() - before

    assert run(main()) > (1000 - RATE * BURST_S) / RATE
