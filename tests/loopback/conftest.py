"""A real nats-server on 127.0.0.1."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.loopback.estate import Running, Site


@pytest.fixture
def running_site(tmp_path: Path) -> Running:
    """An async context of a site whose broker runs."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Site]:
        site = Site(tmp_path)
        await site.broker.start()
        try:
            yield site
        finally:
            await site.broker.stop()

    return run


@pytest.fixture(autouse=True)
def _own_garbage() -> Iterator[None]:
    """What a test drops without closing it is named as that test's, not as a later one's."""
    yield
    gc.collect()
