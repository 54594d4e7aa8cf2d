"""One probe once, without a round: what `segwatch probe` runs. The same packets as an agent's, and no judgement."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reachability.observation import Observation, Target
from reachability.ports import PortSet
from reachability.topology import is_address
from reachability.vocabulary import Protocol, Reason, Role, State

if TYPE_CHECKING:  # it needs scapy
    from probes.context import Station

COPIES = 3
RATE_PPS = 100


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What is asked: a bare address or a name, and a port (0 for ICMP)."""

    host: str
    port: int = 0
    server: str = ""  # of a DNS query
    resolved: tuple[str, ...] = ()  # the addresses of a name
    copies: int = COPIES

    @property
    def address(self) -> str:
        """The one that is probed."""
        return self.resolved[0] if self.resolved else self.host

    @property
    def name(self) -> str:
        """The name that led there, or ""."""
        return "" if is_address(self.host) else self.host


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of it. `lacks` says why packets could not be sent raw; `lines` are further facts (label, text)."""

    observation: Observation
    lacks: str = ""
    lines: tuple[tuple[str, str], ...] = ()


def failed(ask: ProbeRequest, protocol: Protocol, kind: str, reason: Reason, note: str) -> ProbeResult:
    """An observation of the error kind."""
    return ProbeResult(
        Observation(
            target=1,
            source_address="",
            address=ask.address,
            protocol=protocol,
            kind=kind,
            name=ask.name,
            ports=PortSet.of([ask.port]),
            state=State.ERROR,
            reason=reason,
            note=note,
        )
    )


async def packets(ask: ProbeRequest, protocol: Protocol) -> ProbeResult:
    """Probe one endpoint with the packet engine of an agent: raw where that is allowed, and through the kernel."""
    from probes.source.cycle import Source  # noqa: PLC0415
    from probes.source.job import Job  # noqa: PLC0415 - scapy, for this command alone

    station, lacks = _station()
    try:
        station.listen()
        if protocol is Protocol.ICMP and not station.raw:
            return failed(ask, protocol, "icmp", Reason.NO_PERMISSION, lacks)
        ports = PortSet.of([ask.port])
        target = Target(
            id=1, environment="", address=ask.address, protocol=protocol, ports=ports, first=ports, name=ask.name
        )
        job = Job(
            round="probe",
            key=secrets.token_bytes(16),
            targets=(target,),
            role=Role.INSIDE,
            copies=ask.copies,
            most_copies=ask.copies,
            own_host=True,
        )
        report, _ = await Source(station, job).run()
    finally:
        station.close()
    (observation,) = report.observations
    return ProbeResult(observation, lacks, tuple(("problem", problem) for problem in report.problems))


def _station() -> tuple[Station, str]:
    from probes.context import Station  # noqa: PLC0415
    from probes.gate import Gate  # noqa: PLC0415
    from probes.host.routes import Routes  # noqa: PLC0415
    from probes.packets.raw_socket import Bucket, Flows, Wire  # noqa: PLC0415
    from probes.packets.rx_ring import Capture  # noqa: PLC0415

    bucket = Bucket(RATE_PPS)
    gate = Gate(None)  # whoever sits at the terminal says where to
    station = Station(bucket, Flows(), Routes(), "probe", gate=gate)
    try:
        station.capture = Capture()
        station.wire = Wire(bucket, gate)
    except PermissionError:
        return station, "this process lacks CAP_NET_RAW: connect only"
    except OSError as error:
        return station, f"no packet socket: {error.strerror or error}"
    return station, ""
