"""For every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import rich  # noqa: F401 - an agent shuts it out of its process; tests of agents and of the dashboard share one
import structlog
from hypothesis import HealthCheck, settings

from tests.support.order import dealt

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

    What shares a fixture of its module does so sooner, and in a row: a worker takes from the end of what another has left, and
    would build an estate of the lab once more for a part of a module.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    together: dict[object, list[pytest.Item]] = {}
    for item in items:
        if shared := _shared(item):
            together.setdefault(shared, []).append(item)
        elif item.get_closest_marker("long"):
            together[item] = [item]
    taken = {item for lot in together.values() for item in lot}
    items[:] = dealt(list(together.values()), [item for item in items if item not in taken], workers)


def _shared(item: pytest.Item) -> str:
    """The module of a lab test that uses a fixture which lasts as long as its module; "" for any other test."""
    if item.get_closest_marker("lab") is None or not isinstance(item, pytest.Function):
        return ""
    made = (definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values())
    return item.module.__name__ if any(fixture.scope == "module" for fixture in made) else ""
