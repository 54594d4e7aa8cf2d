"""A coordinator for each test of its state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.coordinator import Coordinator


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Coordinator]:
    made = Coordinator(tmp_path)
    yield made
    made.runner.close()
    made.store.close()
