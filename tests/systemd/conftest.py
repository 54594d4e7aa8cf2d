"""What the machines boot: made once for all tests here, and gone with them."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.debian import ALONE, told_to_end
from tests.support.paths import ROOT
from tests.support.wheelhouse import own_wheel
from tests.systemd import machines
from tests.systemd.machines import Estate

INSTALL = """
mount --bind "$1" "$2/mnt"
exec chroot "$2" sh -euc 'python3 -m venv /opt/segwatch
/opt/segwatch/bin/pip install --quiet --no-index --find-links /mnt "segwatch[all]"'
"""


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Where it is made."""
    why = machines.why_not()
    if why:
        pytest.skip(why)
    with told_to_end(), tempfile.TemporaryDirectory(prefix="segwatch-systemd-") as made:
        directory = Path(made)
        directory.chmod(0o711)  # apt reads what mmdebstrap unpacks as a user of its own
        yield directory


@pytest.fixture(scope="session")
def base(place: Path) -> Path:
    """A Debian with systemd and Python, and nothing of segwatch."""
    return machines.make_base(place)


@pytest.fixture(scope="session")
def venv_base(base: Path, place: Path) -> Path:
    """The same with segwatch as docs/systemd.md has it: a venv in /opt/segwatch."""
    made, wheels = place / "venv-base", place / "wheels"
    machines.step("cp", "--archive", str(base), str(made))
    wheels.mkdir()
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = machines.step("chroot", str(base), "python3", "-c", ask).strip()
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes")
    for_debian = (
        "--only-binary",
        ":all:",
        "--python-version",
        version,
        "-r",
        str(ROOT / "requirements.lock"),
        "-d",
        str(wheels),
    )
    machines.step(*download, *for_debian, within_s=machines.BASE_S)
    own_wheel(wheels)
    machines.step(*ALONE, "--net", "sh", "-euc", INSTALL, "sh", str(wheels), str(made), within_s=machines.BASE_S)
    shutil.rmtree(wheels)
    return made


@pytest.fixture
def with_venv(venv_base: Path, place: Path) -> Iterator[Estate]:
    """Three machines that have segwatch in /opt/segwatch, and nothing installed yet."""
    with machines.booted(venv_base, place) as estate:
        yield estate


@pytest.fixture
def bare(base: Path, place: Path) -> Iterator[Estate]:
    """Three machines without segwatch."""
    with machines.booted(base, place) as estate:
        yield estate
