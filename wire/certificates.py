"""What both sides know of an agent's certificate: its name, when it is renewed, and from when on its end is shown.

Its URI holds a generation: 0, or when all certificates of the agent before it were revoked (seconds since the epoch).
A broker lets in the newest generation alone, so that a stolen bundle stays out and a new one gets in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

RENEW_AT = 2 / 3  # of its life, at the latest: of one of 90 days a month is left, for which an agent may be away
JITTER = 1 / 12  # of its life, before that: not all agents of one day at once
SOON_S = 14 * 86400.0
_URI = re.compile(r"segwatch://agent/([a-z][a-z0-9-]*)/([a-z][a-z0-9-]*)(?:/(\d{1,12}))?\Z")


def agent_uri(environment: str, agent: str, generation: int = 0) -> str:
    """The name of an agent in its certificate (URI SAN) and in the broker's list of users."""
    name = f"segwatch://agent/{environment}/{agent}"
    return f"{name}/{generation}" if generation else name


def read_uri(uri: str) -> tuple[str, str, int]:
    """(environment, agent, generation); ValueError for any other name."""
    match = _URI.match(uri)
    if match is None:
        raise ValueError(f"'{uri}' is not the name of an agent")
    return match[1], match[2], int(match[3] or 0)


def renew_at(starts: float, ends: float, chance: float = 0.0) -> float:
    """When a certificate is renewed; `chance` is a random number of 0 to 1. Seconds since the epoch, all of them."""
    return starts + (ends - starts) * (RENEW_AT - JITTER * chance)


def is_due(starts: float, ends: float, now: float) -> bool:
    """Whether one of this machine is to be renewed: in time, or because the clock was set back to before it is valid."""
    return not starts <= now < renew_at(starts, ends)


def ends_soon(starts: float, ends: float, now: float) -> bool:
    """Whether its end is to be shown: 14 days ahead, of a short-lived one a quarter of its life."""
    return now > ends - min(SOON_S, (ends - starts) / 4)


def ca_name(der: bytes) -> str:
    """A CA as it is shown: the beginning of its certificate's SHA-256."""
    return hashlib.sha256(der).hexdigest()[:16]


def trust_name(ders: Iterable[bytes]) -> str:
    """One word for all CAs that are trusted, in whatever order."""
    names = "".join(sorted(map(ca_name, ders)))
    return hashlib.sha256(names.encode()).hexdigest()[:16]
