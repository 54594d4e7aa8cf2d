"""A new CA in the place of the old one, with both trusted for a while: `begin`, and when all agents have come over, `finish`.

An agent has come over when its certificate is of the new CA and it trusts what is given out now. Of whom that was heard the running
coordinator writes down beside the keys, so that `finish` knows it whether a coordinator runs or not.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

import msgspec
import structlog
from cryptography.hazmat.primitives import serialization

from coordinator.broker import authority, enrolment, pki
from coordinator.broker.authority import Authority
from wire.certificate_request import pem
from wire.certificates import ca_name, trust_name
from wire.keyfiles import write_private

RECORD = "rotation.json"
LOOK_S = 0.2
LACKS = {
    "unheard": "was not heard of since the new CA is there",
    "version": "does not say which CA it trusts: its version is older",
    "certificate": "still has a certificate of the old CA",
    "trust": "has not said yet that it trusts the new CA",
}

log = structlog.get_logger("certificates")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rotation to this CA: agent to what it lacked when it was heard of last, a word of `LACKS`; "": nothing."""

    ca: str
    agents: dict[str, str]


def begin(directory: Path, now: dt.datetime) -> Authority:
    """Make a CA beside the one that is there; it signs from now on, and both are trusted. PkiError when there are two."""
    with enrolment.alone(directory):
        held = pki.trust(directory)
        if held.rotates:
            raise pki.PkiError(
                f"{directory} holds two CAs already: {names(held)}. When the agents have come over: segwatch pki rotate-ca"
                " --finish …"
            )
        certificate, key = authority.make(now)
        write_private(directory / authority.OLD_KEY, pem(held.key))
        write_private(directory / authority.CA, authority.pem_of(certificate, *held.certificates), mode=0o644)
        write_private(directory / authority.KEY, pem(key))  # from here on it counts
        return pki.trust(directory)


def finish(directory: Path, agents: Collection[str], even_if: Collection[str] = ()) -> Authority:
    """Give up the old CA. PkiError, which names them, when agents have not come over, but for those of `even_if`."""
    with enrolment.alone(directory):
        held, left = pki.trust(directory), (directory / authority.OLD_KEY).exists()
        if not held.rotates and not left:
            raise pki.PkiError(
                f"{directory} holds one CA, {names(held)}: there is nothing to finish. A new one: segwatch pki rotate-ca …"
            )
        lacking = lacks(directory, held, agents) if held.rotates else {}
        if behind := {agent: word for agent, word in lacking.items() if agent not in even_if}:
            raise pki.PkiError(
                "these would be shut out: "
                + "; ".join(f"{agent} {LACKS[word]}" for agent, word in sorted(behind.items()))
                + ". One that runs comes over within minutes of the coordinator's start; to one that is away bring a new bundle"
                " (segwatch pki renew NAME …) or token, and start it. To give one up, until it gets one: --even-if NAME"
            )
        write_private(directory / authority.CA, authority.pem_of(held.certificates[0]), mode=0o644)
        (directory / authority.OLD_KEY).unlink(missing_ok=True)
        (directory / RECORD).unlink(missing_ok=True)
        return pki.trust(directory)


def lacks(directory: Path, held: Authority, agents: Collection[str]) -> dict[str, str]:
    """Of each agent that has not come over, a word of `LACKS`."""
    known = _record(directory, held).agents
    return {agent: word for agent in agents if (word := known.get(agent, "unheard"))}


def names(held: Authority) -> str:
    """In words, the one that signs first."""
    return " and ".join(
        f"{name_of(held, index)} (until {each.not_valid_after_utc:%Y-%m-%d})"
        for index, each in enumerate(held.certificates)
    )


def name_of(held: Authority, index: int = 0) -> str:
    """As agents say it."""
    return ca_name(held.certificates[index].public_bytes(serialization.Encoding.DER))


class Rotation:
    """Looks five times a second at which CAs are trusted, and says it to `take` when that has changed."""

    def __init__(self, directory: Path, take: Callable[[Authority], Awaitable[None]]) -> None:
        """PkiError when the CA cannot be read."""
        self._directory, self._take = directory, take
        self._seen = self._stamp()
        self.held = pki.trust(directory)
        self._record, self._problem = _record(directory, self.held), ""

    @property
    def trust(self) -> str:
        """What agents are to trust, in a word."""
        return trust_name(each.public_bytes(serialization.Encoding.DER) for each in self.held.certificates)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take in what has changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            held = pki.trust(self._directory)
        except pki.PkiError as error:
            log.error("a change of the CA is refused, what was trusted stays", problem=str(error))  # noqa: TRY400 - in words
            return
        if held.certificates == self.held.certificates:
            return
        self.held, self._record = held, _record(self._directory, held)
        log.warning("the CA is rotated" if held.rotates else "the rotation of the CA is finished", trusted=names(held))
        await self._take(held)

    def lack(self, ca: str, trust: str) -> str:
        """What an agent lacks that says to have a certificate of this CA and to trust these; "": it has come over."""
        if not self.held.rotates:
            return ""
        if not trust:
            return "version"
        if ca != name_of(self.held):
            return "certificate"
        return "" if trust == self.trust else "trust"

    def lacks(self, agent: str) -> str:
        """The same, of an agent by what was heard of it last; "" while there is one CA."""
        return self._record.agents.get(agent, "unheard") if self.held.rotates else ""

    def keep(self, heard: Mapping[str, tuple[str, str]]) -> None:
        """Write down what agents have said: name to (CA, trust). What cannot be written is said once, and tried again."""
        if not self.held.rotates:
            return
        agents = {**self._record.agents, **{name: self.lack(*said) for name, said in heard.items()}}
        if agents == self._record.agents:
            return
        record = Record(ca=name_of(self.held), agents=agents)
        try:
            write_private(self._directory / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        except OSError as error:
            if self._problem != (problem := str(error)):
                self._problem = problem
                log.error("who has come over to the new CA cannot be kept", problem=problem)  # noqa: TRY400 - in words
            return
        self._record, self._problem = record, ""

    def _stamp(self) -> object:
        found = []
        for name in (authority.CA, authority.KEY):
            try:
                held = (self._directory / name).stat()
                found.append((held.st_mtime_ns, held.st_size, held.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return found


def _record(directory: Path, held: Authority) -> Record:
    """Of this rotation; what is of another one, or cannot be read, says nothing: agents are heard of again."""
    try:
        record = msgspec.json.decode((directory / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        record = None
    return record if record is not None and record.ca == name_of(held) else Record(ca=name_of(held), agents={})
