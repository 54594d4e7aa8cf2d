"""For every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import pytest
import rich  # noqa: F401 - an agent shuts it out of its process; tests of agents and of the dashboard share one
import structlog
from hypothesis import HealthCheck, settings

# How long an example takes, and how long it takes to draw one, is the machine's: no test turns red over it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

pytest_plugins = ["tests.support.session_end"]


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Daemons that run in the tests' process set up the log for all of it: that ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, whatever the order: nobody waits for it at the end.

    A worker begins with an even share of the whole list, so that each share begins with some.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = iter([item for item in items if not item.get_closest_marker("long")])
    total, items[:] = len(items), []
    for worker in range(workers):
        items += long[worker::workers]
        items += islice(rest, max(0, total * (worker + 1) // workers - len(items)))
