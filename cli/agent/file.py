"""Reads an agent's configuration as people write it (YAML) and leaves it, with its credentials, for the daemon."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent.config import NEXT, NEXT_KEY, NEXT_TRUST, RENEWED, TRUST, AgentConfig, Credentials, check, save
from cli.errors import Problem
from wire.keyfiles import write_private

MOST_BYTES = 64 * 1024  # thousands of networks
_STUMBLES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_agent_yaml(text: bytes, where: str) -> AgentConfig:
    """A checked configuration; Problem with every error in words."""
    if len(text) > MOST_BYTES:
        raise Problem(f"{where} is larger than a configuration can be")
    try:
        data = yaml.load(text, Loader=_NoAliases)  # noqa: S506 - it derives from SafeLoader
    # PyYAML's own constructors raise the rest, for `!!timestamp x`, 2026-13-45 or `!!bool x`.
    except (yaml.YAMLError, *_STUMBLES) as error:
        raise Problem(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise Problem(f"{where} holds no keys: it needs name, environment, broker, allow")
    try:
        config = msgspec.convert(_durations(data), AgentConfig)
    except msgspec.ValidationError as error:
        raise Problem(f"{where}: {_with_nearest(str(error))}") from error
    if problems := check(config):
        raise Problem(*(f"{where}: {problem}" for problem in problems))
    return config


def install(config: AgentConfig, files: Mapping[str, bytes], state_dir: Path) -> None:
    """Write the credentials (`certificate`, `key`, `ca`, `coordinator` to their bytes) and the configuration.

    A new bundle replaces what was renewed since; the one that it came from keeps it: a unit may give the same
    bundle at each start.
    """
    names = {"certificate": "agent.pem", "key": "agent.key", "ca": "ca.pem", "coordinator": "coordinator.pub"}
    held_before = state_dir / names["certificate"]
    if not held_before.is_file() or held_before.read_bytes() != files["certificate"]:
        for name in (RENEWED, NEXT, NEXT_KEY, TRUST, NEXT_TRUST):
            (state_dir / name).unlink(missing_ok=True)
    for kind, name in names.items():
        write_private(state_dir / name, files[kind])
    held = msgspec.structs.replace(Credentials(), server_name=config.credentials.server_name)
    save(msgspec.structs.replace(config, credentials=held, state_dir=str(state_dir)), state_dir)


class _NoAliases(yaml.SafeLoader):
    """No anchors: nothing here needs one, and a few of them make gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed here")
        return super().compose_node(parent, index)


def _durations(data: dict[Any, Any]) -> dict[Any, Any]:
    """`for: 2h` of each blackout as `for_s`."""
    windows = data.get("blackout")
    if not isinstance(windows, list):
        return data
    converted = []
    for window in windows:
        if isinstance(window, dict) and isinstance(window.get("for"), str | int):
            rest = {key: value for key, value in window.items() if key != "for"}
            converted.append({**rest, "for_s": _seconds(str(window["for"]))})
        else:
            converted.append(window)
    return {**data, "blackout": converted}


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,7})([smhd]?)", text)
    if match is None:
        raise Problem(f"blackout: '{text}' is not a duration such as 30m or 2h")
    return float(match[1]) * UNITS[match[2] or "s"]


def _with_nearest(message: str) -> str:
    """Add the nearest key to msgspec's words about an unknown one."""
    if match := re.search(r"unknown field `([^`]*)`", message):
        known = {*AgentConfig.__struct_fields__, *Credentials.__struct_fields__, "cron", "for", "timezone"}
        if near := difflib.get_close_matches(match[1], sorted(known), n=1):
            return f"{message}; did you mean '{near[0]}'?"
    return message
