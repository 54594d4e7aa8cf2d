"""What an agent is told by its host's owner: who it is, where its broker is, what it may touch.

A bundle or a YAML file brings it; `segwatch agent` checks it and leaves it as JSON in the state directory, so that the
daemon reads it without YAML.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

import msgspec

from reachability.blackout import Cron, zone
from reachability.topology import Blackout
from wire.dial import Broker, parse_url
from wire.keyfiles import Exposed, check_directory, check_key, write_private
from wire.signing import read_verify_key
from wire.topics import NAME

FILE = "agent.json"
RENEWED = "renewed.pem"  # certificate and key that the agent got over its own channel: one file, so that they fit
NEXT_KEY, NEXT = "next.key", "next.pem"  # what it has made and asked for; what came and was not tried yet

TRUST, NEXT_TRUST = "trust.pem", "next-trust.pem"  # the CAs that it was told to trust since, and those with `NEXT`


class ConfigError(Exception):
    """The configuration cannot be used; the text says what is wrong and where."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files, relative to the configuration's own directory, and the name that the broker's certificate must hold."""

    certificate: str = "agent.pem"
    key: str = "agent.key"
    ca: str = "ca.pem"
    coordinator: str = "coordinator.pub"
    server_name: str = ""  # "": the host of the broker's URL


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A blackout of the host's owner: nothing is probed from this host then."""

    cron: str
    for_s: float
    timezone: str = "UTC"


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of an agent."""

    name: str
    environment: str
    broker: str
    credentials: Credentials = Credentials()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rate_pps: int = 1000
    flows: int = 0  # entries in connection tables at a time; 0: what the coordinator says
    state_dir: str = ""
    user: str = ""  # that the daemon changes to; "": `segwatch` where there is such a user
    blackout: tuple[Window, ...] = ()

    def blackouts(self) -> tuple[Blackout, ...]:
        """The windows as the domain has them."""
        return tuple(Blackout(window.cron, window.for_s, window.timezone) for window in self.blackout)


class _Named(msgspec.Struct):
    name: str


def check(config: AgentConfig) -> list[str]:
    """Everything that is wrong with the values, in words; empty when nothing is."""
    problems = [
        f"{key}: '{value}' is not a name (a lower-case letter, then letters, digits and dashes)"
        for key, value in (("name", config.name), ("environment", config.environment))
        if not NAME.match(value)
    ]
    problems += _tried("broker", parse_url, config.broker)
    for key, networks in (("allow", config.allow), ("deny", config.deny)):
        for index, text in enumerate(networks):
            problems += _tried(f"{key}[{index}]", ipaddress.ip_network, text)
    if not config.allow:
        problems.append("allow: is empty, so that every probe would be refused; list networks and the broker's address")
    if config.rate_pps <= 0:
        problems.append(f"rate_pps: {config.rate_pps} is not a rate; it is packets a second, 1 or more")
    if config.flows < 0:
        problems.append(f"flows: {config.flows} is not a number of flows; 0 leaves it to the coordinator")
    for index, window in enumerate(config.blackout):
        problems += _tried(f"blackout[{index}].cron", Cron.parse, window.cron)
        problems += _tried(f"blackout[{index}].timezone", zone, window.timezone)
        if not 0 < window.for_s <= 31 * 86400:
            problems.append(f"blackout[{index}].for: {window.for_s:g} s is not between 1 s and 31 days")
    return problems


def load(state_dir: Path) -> AgentConfig:
    """The configuration that `segwatch agent` left; ConfigError says what is wrong."""
    path = state_dir / FILE
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AgentConfig)
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there: start it once with segwatch agent --bundle FILE") from None
    except (OSError, msgspec.DecodeError) as error:
        newer = (
            ". A newer segwatch may have left it: use that one" if isinstance(error, msgspec.ValidationError) else ""
        )
        again = "Else give it its bundle again: segwatch agent --bundle FILE"
        raise ConfigError(f"{path}: {error}{newer}. {again}") from error
    problems = check(config)
    held = config.credentials
    for name in (held.certificate, held.key, held.ca, held.coordinator):
        if not (state_dir / name).is_file():
            problems.append(f"credentials: {state_dir / name} is not there")
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    try:
        read_verify_key((state_dir / held.coordinator).read_text())
    except ValueError as error:
        raise ConfigError(f"{state_dir / held.coordinator}: {error}") from error
    try:
        check_directory(state_dir)
        for key in {state_dir / held.key, credential(config, state_dir)[1]}:
            check_key(key)
    except Exposed as error:
        raise ConfigError(str(error)) from error
    return config


def owner(state_dir: Path) -> str:
    """The name of the agent whose state directory it is; "" where nobody's can be read."""
    try:
        return msgspec.json.decode((state_dir / FILE).read_bytes(), type=_Named).name
    except (OSError, msgspec.DecodeError):
        return ""


def credential(config: AgentConfig, state_dir: Path) -> tuple[Path, Path]:
    """Certificate and key to connect with: the ones that were renewed, else the bundle's."""
    renewed = state_dir / RENEWED
    if renewed.is_file():
        return renewed, renewed
    return state_dir / config.credentials.certificate, state_dir / config.credentials.key


def ca_of(config: AgentConfig, state_dir: Path, *, tried: bool = False) -> Path:
    """The CAs that the agent trusts: those that it was told since, else the bundle's. `tried`: with what it is to try out."""
    names = (NEXT_TRUST, TRUST) if tried else (TRUST,)
    return next((path for name in names if (path := state_dir / name).is_file()), state_dir / config.credentials.ca)


def broker_of(config: AgentConfig, state_dir: Path) -> Broker:
    """Where the agent connects to, and as who."""
    certificate, key = credential(config, state_dir)
    name = config.credentials.server_name
    return Broker.parse(config.broker, ca=ca_of(config, state_dir), certificate=certificate, key=key, server_name=name)


def save(config: AgentConfig, state_dir: Path) -> None:
    """Leave it for the daemon."""
    write_private(state_dir / FILE, msgspec.json.format(msgspec.json.encode(config), indent=1))


def _tried(where: str, parse: Callable[[str], object], text: str) -> list[str]:
    try:
        parse(text)
    except ValueError as error:
        return [f"{where}: {error}"]
    return []
