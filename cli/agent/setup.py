"""What an agent is given, checked and left in its state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.bundle import BundleError, read_bundle
from agent.config import AgentConfig, ConfigError, load, owner
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
    given = {kind: files[name] for kind, name in kinds.items()}
    check_given(parsed, given, str(bundle))
    return parsed, given


def check_given(config: AgentConfig, files: Mapping[str, bytes], where: str) -> None:
    """Problem unless certificate and key are this agent's."""
    from agent import credential  # noqa: PLC0415 - cryptography is slow to import

    try:
        credential.check_given(config, files["certificate"], files["key"])
    except credential.CredentialError as error:
        again = f"segwatch pki agent {config.name} … --out FILE"
        raise Problem(f"{where}: {error}", f"Make a new bundle on the coordinator's host: {again}") from error


def check_owner(name: str, directory: Path) -> None:
    """Problem when the state directory is another agent's: its spool would be sent, its rounds answered, as this one's."""
    if (there := owner(directory)) not in {"", name}:
        raise Problem(
            f"{directory} is the state directory of agent {there}, and what is given is for {name}",
            f"Give {name} one of its own. Where it is to take {there}'s place: move {directory} away first.",
        )


def leave(config: AgentConfig, files: dict[str, bytes], directory: Path) -> Path:
    """Write configuration and credentials into a state directory that no agent holds, and check what is there then."""
    check_owner(config.name, directory)
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
