"""Reads an agent's bundle. The tar may come from anywhere: only known plain files are taken."""

from __future__ import annotations

import tarfile
from pathlib import Path

MEMBERS = ("agent.yaml", "agent.pem", "agent.key", "ca.pem", "coordinator.pub")
MOST_BYTES = 1024 * 1024
MOST_FILE = MOST_BYTES + 64 * 1024  # with what tar puts around them
_MAKE = "Make one on the coordinator's host: segwatch pki agent NAME … --out FILE"


class BundleError(Exception):
    """The file is not a bundle; the text says why."""


def read_bundle(path: Path) -> dict[str, bytes]:
    """The five files of a bundle; BundleError for anything else in it: paths, links, devices, size."""
    try:
        if path.stat().st_size > MOST_FILE:
            raise BundleError(f"{path} is larger than a bundle can be")
        with tarfile.open(path, mode="r:") as tar:
            return _members(path, tar)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}. {_MAKE}") from error
    # What tarfile makes of bad extended headers besides: numbers that are not numbers, endless chains of headers.
    except (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise BundleError(f"{path} is not a bundle: {error}. {_MAKE}") from error


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    for member in tar:
        if not member.isreg() or member.issparse() or member.name not in MEMBERS or member.name in files:
            raise BundleError(f"{path} holds {member.name!r}, which is not a file of a bundle: nothing was unpacked")
        left -= member.size
        if left < 0:
            raise BundleError(f"{path} holds more than {MOST_BYTES} bytes")
        source = tar.extractfile(member)
        assert source is not None
        files[member.name] = source.read(member.size)
    if missing := [name for name in MEMBERS if name not in files]:
        raise BundleError(f"{path} is not a whole bundle: it lacks {', '.join(missing)}. Copy it again. {_MAKE}")
    return files
