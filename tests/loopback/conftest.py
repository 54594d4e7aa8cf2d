"""A real nats-server on 127.0.0.1."""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.loopback import sealed
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


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """An address to send to: nothing leaves for one of the host's own, and none but root can have a network of their own here."""
    if os.geteuid() != 0:
        yield "127.0.0.1"
        return
    with sealed.network() as address:
        yield address


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user can reach; pytest's own are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="segwatch-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
