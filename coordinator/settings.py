"""What a coordinator is told by its command line or its configuration file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from coordinator.broker.addresses import Listen
from coordinator.broker.pki import AGENT_LIFE


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line or the configuration file says."""

    topology: Path
    pki: Path
    listen: Listen
    state_dir: Path
    broker: str = ""  # the URL of one that an operator runs; "": the embedded one
    web: Listen | None = None
    advertise: tuple[Listen, ...] = ()  # where agents find it, when that is not where it listens
    certificate_life: dt.timedelta = AGENT_LIFE  # of those that agents get over their own channel
