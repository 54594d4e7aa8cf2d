"""The text of a topology file: what `load` reads, written. Comments stand before the entries that they are about."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reachability.texts import printable
from reachability.topology import Environment, Path, PortSpec, Probing, Service, Topology, Waiver, is_wide
from reachability.vocabulary import Require

Place = tuple[str, ...]  # ("paths", its name), ("services", environment, its name)
WIDTH = 100  # of comments
Notes = Mapping[Place, Sequence[str]]
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*|[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?|(?:tcp|udp)/[0-9-]+")
_READ_OTHERWISE = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # by YAML 1.1 or 1.2
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


def written(topology: Topology, header: Sequence[str], notes: Notes) -> str:
    """The file's text: `header` and `notes` are lines of comment, without their #. It loads as the same topology."""
    lines = [*_comment(header, ""), "", f"version: {topology.version}", "", "environments:"]
    for environment in topology.environments.values():
        lines += _environment(environment, notes)
    if topology.paths:
        lines += ["", "paths:"]
        for path in topology.paths:
            lines += [*_comment(notes.get(("paths", path.name), ()), "  "), *_entry(_path(path))]
    if topology.waivers:
        lines += ["", "waivers:"]
        for waiver in topology.waivers:
            lines += [*_comment(notes.get(("waivers", waiver.id), ()), "  "), *_entry(_waiver(waiver))]
    return "\n".join([*lines, "", *_probing(topology.probing)]) + "\n"


def text(value: str) -> str:
    """A text as YAML reads it again, quoted where it would be taken for something else."""
    if _PLAIN.fullmatch(value) and value.lower() not in _READ_OTHERWISE:
        return value
    return "".join(c if c.isprintable() else _escaped(c) for c in json.dumps(value, ensure_ascii=False))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"  # noqa: PLR2004 - \u has four digits


def _comment(lines: Iterable[str], indent: str) -> Iterator[str]:
    """What is too long goes on in the next line, a little further in; so does what is no character of a line."""
    for line in map(printable, lines):
        lead = f"{indent}# {line[: len(line) - len(line.lstrip())]}"
        wrapped = textwrap.wrap(
            line.strip(), WIDTH, initial_indent=lead, subsequent_indent=f"{lead}  ", break_on_hyphens=False,
            break_long_words=False,
        )  # fmt: skip
        yield from wrapped or [lead.rstrip()]


def _listed(values: Iterable[object]) -> str:
    return f"[{', '.join(text(str(value)) for value in values)}]"


def _ports(spec: PortSpec) -> str:
    return _listed(str(spec).split())


def _environment(environment: Environment, notes: Notes) -> Iterator[str]:
    yield f"  {environment.name}:"
    yield f"    sensitivity: {environment.sensitivity.value}"
    if environment.require is not Require.NO_SESSION:
        yield f"    require: {environment.require.value}"
    yield f"    networks: {_listed(environment.networks)}"
    if any(map(is_wide, environment.networks)):
        yield "    allow_wide: true"
    if environment.agents:
        yield "    agents:"
    for agent in environment.agents.values():
        addresses = f"addresses: {_listed(agent.addresses)}" if agent.addresses else ""
        yield f"      {agent.name}: {{{addresses}}}"
    if environment.services:
        yield "    services:"
    for service in environment.services.values():
        yield from _comment(notes.get(("services", environment.name, service.name), ()), "      ")
        yield f"      {service.name}: {{{', '.join(_service(service))}}}"


def _service(service: Service) -> Iterator[str]:
    yield f"hosts: {_listed(service.hosts)}"
    yield f"ports: {_ports(service.ports)}"
    if service.kind:
        yield f"kind: {text(service.kind)}"
    if service.holds:
        yield f"holds: {_listed(service.holds)}"
    if not service.sweep:
        yield "sweep: false"


def _entry(fields: Iterable[str]) -> Iterator[str]:
    """An item of a list."""
    for number, field in enumerate(fields):
        yield f"{'    ' if number else '  - '}{field}"


def _path(path: Path) -> Iterator[str]:
    yield f"name: {text(path.name)}"
    yield from _ends(path)
    yield f"expect: {path.expect.value}"
    yield from _why(path)


def _waiver(waiver: Waiver) -> Iterator[str]:
    yield f"id: {text(waiver.id)}"
    yield from _ends(waiver)
    yield from _why(waiver)
    yield f"expires: {waiver.expires.isoformat().replace('+00:00', 'Z')}"


def _ends(entry: Path | Waiver) -> Iterator[str]:
    yield f"from: {text(entry.source.text)}"
    yield f"to: {text(entry.destination.text)}"
    if entry.ports is not None:
        yield f"ports: {_ports(entry.ports)}"


def _why(entry: Path | Waiver) -> Iterator[str]:
    if entry.owner:
        yield f"owner: {text(entry.owner)}"
    if entry.justification:
        yield f"justification: {text(entry.justification)}"


def _probing(probing: Probing) -> Iterator[str]:
    yield "probing:"
    yield f"  every: {_duration(probing.every_s)}"
    if probing.sweep_ports:
        every = f"every: {_duration(probing.sweep_every_s)}, " if probing.sweep_every_s else ""
        yield f"  sweep: {{{every}ports: {_ports(probing.sweep_ports)}}}"
    yield f"  rate_pps: {probing.rate_pps}"
    yield f"  flows: {probing.flows}"
    yield f"  spread: {_duration(probing.spread_s)}"
    yield f"  confirm: {probing.confirm}"
    if probing.blackout:
        yield "  blackout:"
    for window in probing.blackout:
        yield (
            f"    - {{cron: {text(window.cron)}, for: {_duration(window.for_s)}, timezone: {text(window.timezone)}}}"
        )


def _duration(seconds: float) -> str:
    """In the largest unit that it is a whole number of; a millisecond at least."""
    thousandths = max(1, round(seconds * 1000))
    size, unit = next((size, unit) for size, unit in _UNITS if thousandths % size == 0)
    return f"{thousandths // size}{unit}"
