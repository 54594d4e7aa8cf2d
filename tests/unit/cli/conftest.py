"""A coordinator for each test that runs `segwatch verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_api import FakeCoordinator, served
from tests.support.pipeline import Pipeline, Serving
from tests.support.sample import Estate


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Serve an estate; `waits` is how many polls find the run unfinished."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def serve(waits: int = 0, **estate: Any) -> Pipeline:
            fake = FakeCoordinator(Estate(**estate), waits)
            stack.enter_context(served(fake, tmp_path / "state"))
            return Pipeline(tmp_path, fake)

        yield serve
