"""The file and the root, for every test here. `make binary-test` makes both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.binary import roots
from tests.binary.roots import Host


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Host:
    assert os.geteuid() == 0, "a root for chroot(2) is made by root"
    assert roots.FILE.is_file(), f"there is no {roots.FILE}: make agent-binary"
    directory = tmp_path_factory.mktemp("host")
    directory.chmod(0o755)
    return roots.make(directory, roots.archive())


@pytest.fixture
def host(made: Host) -> Iterator[Host]:
    """The old release, on which the file was never started."""
    made.forget()
    yield made
    made.forget()


@pytest.fixture
def nothing(tmp_path: Path) -> Host:
    """A root in which there is the file, and nothing else: no C library, no shell."""
    return roots.make(tmp_path, None)
