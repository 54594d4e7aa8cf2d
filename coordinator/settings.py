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
    web_cert: Path | None = None  # with its key: TLS, without which the API is served on loopback alone
    web_key: Path | None = None
    web_names: tuple[str, ...] = ()  # that it answers to, beside those of the certificate
    nats_server: Path | None = None  # the embedded broker's program; None: that of the wheel
    advertise: tuple[Listen, ...] = ()  # where agents find it, when that is not where it listens
    certificate_life: dt.timedelta = AGENT_LIFE  # of those that agents get over their own channel

    def __post_init__(self) -> None:
        """ValueError for an API that others could read on its way."""
        if (self.web_cert is None) != (self.web_key is None):
            raise ValueError("--web-cert and --web-key are a certificate and its key: give both")
        if self.web is not None and self.web_cert is None and not self.web.is_loopback:
            own = "" if self.broker else f"; the broker's own would do: {self.pki}/broker.pem and {self.pki}/broker.key"
            raise ValueError(
                f"--web {self.web} can be reached by others: it needs TLS. Give --web-cert FILE and --web-key FILE{own}."
                " Or listen on loopback: --web 127.0.0.1:8600"
            )
