"""What an agent is given, checked and left in its state directory."""

from __future__ import annotations

from pathlib import Path

from agent.bundle import BundleError, read_bundle
from agent.config import AgentConfig, ConfigError, load
from agent.lock import held
from cli.agent.file import install, parse_agent_yaml
from cli.errors import Problem
from wire.keyfiles import Exposed, check_key


def read_bundled(bundle: Path) -> tuple[AgentConfig, dict[str, bytes]]:
    """A bundle's configuration and credentials (`certificate`, `key`, `ca`, `coordinator`), checked; Problem says what is wrong."""
    try:
        files = read_bundle(bundle)
        check_key(bundle)
    except (BundleError, Exposed) as error:
        raise Problem(str(error)) from error
    kinds = {"certificate": "agent.pem", "key": "agent.key", "ca": "ca.pem", "coordinator": "coordinator.pub"}
    parsed = parse_agent_yaml(files["agent.yaml"], f"{bundle}: agent.yaml")
    return parsed, {kind: files[name] for kind, name in kinds.items()}


def leave(config: AgentConfig, files: dict[str, bytes], directory: Path) -> Path:
    """Write configuration and credentials into a state directory that no agent holds, and check what is there then."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with held(directory):
            install(config, files, directory)
        load(directory)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror or error}") from error
    except ConfigError as error:
        raise Problem(str(error)) from error
    return directory
