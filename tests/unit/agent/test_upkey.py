"""The key that signs what goes up is nobody else's, or it is not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import upkey
from agent.config import AgentConfig, ConfigError
from wire.keyfiles import write_private


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    config = AgentConfig(name="dev-1", environment="dev", broker="mqtts://10.0.0.1:8883", allow=("10.30.0.0/24",))
    write_private(tmp_path / "agent.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "agent.sign").write_bytes(b"")
    (tmp_path / "agent.sign").chmod(0o640)
    with pytest.raises(ConfigError, match=r"agent\.sign can be read by others\. Fix it: chmod 600 "):
        upkey.load(config, tmp_path)
