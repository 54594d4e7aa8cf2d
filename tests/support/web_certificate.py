"""A certificate for the API, from a CA of its own, as files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from coordinator.broker import pki
from wire.keyfiles import write_private

NOW = dt.datetime.now(dt.UTC)


def make_ca(directory: Path) -> Path:
    """The CA's directory."""
    pki.init(directory, NOW)
    return directory


def issue(ca: Path, directory: Path, *hosts: str, life: dt.timedelta = dt.timedelta(days=9)) -> tuple[Path, Path]:
    """The certificate and its key, put in the place of those that were there before."""
    issued = pki.server_certificate(ca, hosts, NOW, life)
    certificate, key = directory / "web.pem", directory / "web.key"
    write_private(key, issued.key)
    write_private(certificate, issued.certificate, mode=0o644)
    return certificate, key
