"""Who has been enrolled, so that a second enrolment of a name ends the first.

A first one takes the generation that is in force, a further one a new one (see `wire.certificates`), and all before it are
revoked once it stands: `generation_for`, then the certificate, then `stands`.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from coordinator.broker import pki
from wire.certificate_request import new_key, pem, request_of
from wire.certificates import agent_uri
from wire.keyfiles import write_private

ENROLLED = "enrolled.json"  # agent -> when it last was, seconds since the epoch
LOCK = "enrolled.lock"


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One enrolment at a time on these keys."""
    pki.check(directory)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def generation_for(directory: Path, agent: str, now: dt.datetime) -> int:
    """The generation of the certificate that the agent is enrolled with now."""
    held = pki.revocations(directory).get(agent, 0)
    return max(held + 1, int(now.timestamp())) if agent in _enrolled(directory) else held


def issue(
    directory: Path, environment: str, agent: str, generation: int, now: dt.datetime, life: dt.timedelta
) -> pki.Issued:
    """A certificate of this generation, with a key that is made here: for a bundle."""
    key = new_key()
    uri = agent_uri(environment, agent, generation)
    issued = pki.sign_request(directory, uri, request_of(key, environment, agent), now, life)
    return replace(issued, key=pem(key))


def stands(directory: Path, agent: str, generation: int, now: dt.datetime) -> bool:
    """The agent is enrolled with this generation: whether that ended a former one. Doing it again changes nothing.

    PkiError when it was revoked meanwhile: the new certificate is not let in.
    """
    enrolled = _enrolled(directory)
    if agent not in enrolled or enrolled[agent] < int(now.timestamp()):
        entry = {**enrolled, agent: int(now.timestamp())}
        write_private(directory / ENROLLED, msgspec.json.format(msgspec.json.encode(entry), indent=1) + b"\n")
    held = pki.revocations(directory).get(agent, 0)
    if held > generation:
        raise pki.PkiError(
            f"'{agent}' was revoked, or enrolled again, meanwhile: what was made is refused. Make another"
        )
    if held < generation:
        pki.revoke(directory, agent, dt.datetime.fromtimestamp(generation, dt.UTC))
    return held < generation


def _enrolled(directory: Path) -> dict[str, int]:
    path = directory / ENROLLED
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise pki.PkiError(f"{path} cannot be read: {error}. Restore it, or write {{}} into it") from error
