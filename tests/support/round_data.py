"""What a round brought, from its source and its witness, and the verdicts that follow."""

from dataclasses import replace
from typing import Any

from reachability.arrival import ArrivalRow, WitnessHealth, WitnessReport
from reachability.evidence import Conclusion
from reachability.observation import ControlResult, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData, RoundSpec
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import Protocol, Reason, Role, RoundKind, Schedule, State

PROD = "10.30.0.10"
DEV = "10.10.0.10"
VIA = "eth0 10.10.0.1"
TCP = Target(
    id=1, environment="prod", address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-100"), witness="prod-1"
)
UDP = replace(TCP, id=2, protocol=Protocol.UDP)
CONTROL = ControlResult(
    address="10.0.0.1", protocol=Protocol.TCP, kind="coordinator", port=8883, source_address=DEV, via=VIA,
    sent=100, answered=100, ended_good=True,
)  # fmt: skip
HEALTHY = WitnessHealth(address=PROD, healthy=True, off_host=9, forwards=False)


def silence(target: Target = TCP, ports: str | None = None, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "target": target.id, "source_address": DEV, "address": target.address, "protocol": target.protocol,
        "state": State.FILTERED, "reason": Reason.NO_RESPONSE, "ports": target.ports if ports is None else PortSet.parse(ports), "way": "raw", "via": VIA,
        "sent": 4, "covered": 4, "flows": 4,
    }  # fmt: skip
    return Observation(**(fields | changes))


def spec(*targets: Target, kind: RoundKind = RoundKind.NORMAL) -> RoundSpec:
    return RoundSpec(
        round="R1", kind=kind, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod",
        targets=targets,
    )  # fmt: skip


def source(*observations: Observation, **changes: Any) -> SourceReport:
    fields: dict[str, Any] = {
        "controls": (CONTROL, replace(CONTROL, protocol=Protocol.UDP), replace(CONTROL, protocol=Protocol.ICMP))
    }
    return SourceReport(round="R1", agent="dev-1", observations=observations, **(fields | changes))


def witness(*arrivals: ArrivalRow, health: WitnessHealth | None = HEALTHY, **changes: Any) -> WitnessReport:
    fields: dict[str, Any] = {"health": (health,) if health else (), "listened_s": 3600.0}
    return WitnessReport(round="R1", agent="prod-1", arrivals=arrivals, **(fields | changes))


def insides(*observations: Observation, agent: str = "prod-2") -> tuple[SourceReport, SourceReport]:
    """What the inside control got before the source's copies, and again after them."""
    before = SourceReport(round="R1", agent=agent, role=Role.INSIDE, observations=observations)
    return before, replace(before, again=True)


def data(*targets: Target, src: SourceReport, wit: tuple[WitnessReport, ...] = (), **changes: Any) -> RoundData:
    kind = changes.pop("kind", RoundKind.NORMAL)
    return RoundData(spec=spec(*targets, kind=kind), source=src, witnesses=wit, armed={"prod-1": True}, **changes)


def verdicts(conclusion: Conclusion) -> dict[str, tuple[Verdict, Evidence]]:
    return {str(ports): (judge(e), e) for _, ports, e in conclusion.cells}
