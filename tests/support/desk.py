"""An agent's rounds at a desk: the orders it is given, and all that it did."""

from collections.abc import Sequence

from agent.rounds import Rounds
from probes.child.protocol import ToChild
from reachability.allow import AllowList
from reachability.arrival import WitnessReport
from reachability.observation import ControlTarget, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from wire.dial import Endpoint
from wire.messages import Arm, Go, Up


class Child:
    def __init__(self) -> None:
        self.told: list[ToChild] = []
        self.busy = False
        self.killed_after: float | None = None

    def tell(self, order: ToChild) -> None:
        self.told.append(order)

    def set_busy(self, busy: bool) -> None:
        self.busy = busy

    def stop_within(self, seconds: float) -> None:
        self.killed_after = seconds


class Desk:
    """The rounds of `dev-1`, which may touch 10.30.0.0/24, and all that they did."""

    def __init__(self, not_now: str = "", *, deny: Sequence[str] = (), instance: str = "") -> None:
        self.child = Child()
        self.spooled: list[SourceReport | WitnessReport] = []
        self.answers: list[Up] = []
        self.refused: list[str] = []
        self.now = 0.0
        self.not_now = not_now
        self.broker: Endpoint | None = None
        self.allow = AllowList.of(["10.30.0.0/24"], deny)
        self.rounds = Rounds(
            "dev-1",
            lambda: (self.allow, self.not_now),
            self.child,
            spool=self._spool,
            answer=self.answers.append,
            refused=self.refused.append,
            clock=lambda: self.now,
            broker=lambda: self.broker,
            instance=instance,
        )

    def _spool(self, report: SourceReport | WitnessReport) -> int:
        self.spooled.append(report)
        return len(self.spooled)

    def source_report(self) -> SourceReport:
        (report,) = self.spooled
        assert isinstance(report, SourceReport)
        return report


def target(number: int, address: str = "10.30.0.21") -> Target:
    return Target(
        id=number,
        environment="prod",
        address=address,
        protocol=Protocol.TCP,
        ports=PortSet.parse("22"),
        source="10.10.0.10",
    )


def go(*targets: Target, controls: Sequence[ControlTarget] = ()) -> Go:
    return Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=targets, controls=tuple(controls))


def arm(targets: Sequence[Target] = (), inside: Sequence[Target] = ()) -> Arm:
    return Arm(
        round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="x", targets=tuple(targets), inside=tuple(inside)
    )


SEEN = Observation(
    target=1,
    source_address="10.10.0.10",
    address="10.30.0.21",
    protocol=Protocol.TCP,
    state=State.OPEN,
    reason=Reason.SYN_ACK,
    ports=PortSet.parse("22"),
)
REPORT = SourceReport(round="r", agent="dev-1", observations=(SEEN,))
