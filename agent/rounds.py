"""An agent's part in rounds: what it obeys, what it refuses, and what it answers when its packet child cannot.

No process and no network in here: orders go to `child`, answers to `answer`, reports to `spool`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Protocol, assert_never

import msgspec

from probes.child.protocol import ChildArmed, Halted, SourceDone, ToChild, WitnessDone
from reachability.allow import AllowList
from reachability.arrival import WitnessHealth, WitnessReport
from reachability.observation import ControlTarget, Observation, SourceReport, Target
from reachability.refused import error_at, kept_of, refusals
from reachability.topology import in_networks
from reachability.vocabulary import Protocol as IpProtocol
from reachability.vocabulary import Reason, Role, RoundKind
from wire.dial import Endpoint
from wire.messages import Arm, Armed, Close, Done, Go, Stop, Up

MOST_ROUNDS = 256  # a coordinator that never closes them is not followed for ever
STOP_S = 0.2
SOURCE_S = 6 * 3600.0  # no sweep takes longer
AGAIN_S = 300.0  # nor does asking from inside once more


class Child(Protocol):
    """What rounds need of the packet child."""

    def tell(self, order: ToChild) -> None:
        """Send an order."""

    def set_busy(self, busy: bool) -> None:
        """Whether it is needed."""

    def stop_within(self, seconds: float) -> None:
        """Kill it after this long."""


@dataclass(slots=True)
class _Round:
    """What is open here. `refused` are the observations of targets that must not be touched."""

    order: Arm | Go
    until: float
    refused: tuple[Observation, ...] = ()
    problems: tuple[str, ...] = ()
    broken: str = ""  # the child died
    answered: bool = False  # `Armed` was sent
    touches: frozenset[str] = frozenset()  # addresses that packets are sent to, but for the broker's
    sends: bool = False  # just now


class Rounds:
    """The rounds that are open at this agent."""

    def __init__(
        self,
        agent: str,
        allow: Callable[[], tuple[AllowList, str]],
        child: Child,
        *,
        spool: Callable[[SourceReport | WitnessReport], int],
        answer: Callable[[Up], None],
        refused: Callable[[str], None],
        clock: Callable[[], float],
        broker: Callable[[], Endpoint | None] = lambda: None,
        instance: str = "",
    ) -> None:
        """`allow` gives the allow-list and why nothing may be probed just now; `refused` notes a refusal in words.

        `broker` is where this agent is connected, which its coordinator may not know; `instance` is put in all that it says.
        """
        self._agent, self._instance, self._allow, self._child = agent, instance, allow, child
        self._put, self._answer, self._note = spool, answer, refused
        self._clock, self._broker = clock, broker
        self._open: dict[str, _Round] = {}
        self._asking: dict[str, _Round] = {}  # closed, and controlled from inside once more
        self._gone: deque[str] = deque(maxlen=MOST_ROUNDS)  # that it was sent off to
        self.began_at: float | None = None  # the newest, by `clock`

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._open) + len(self._asking)

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._open)

    def obey(self, order: Arm | Go | Close | Stop) -> None:
        """Do what a verified order says."""
        match order:
            case Arm():
                self._arm(order)
            case Go():
                self._go(order)
            case Close():
                self._close(order)
            case Stop():
                self._stop(order)
            case _:
                assert_never(order)
        self._child.set_busy(bool(len(self)))

    def heard(self, message: ChildArmed | SourceDone | WitnessDone | Halted) -> None:
        """Hand on what the child says."""
        match message:
            case ChildArmed():
                if current := self._open.get(message.round):
                    current.answered = True
                    problems = (*message.problems, *current.problems)
                    self._armed(message.round, problems, ok=message.ok)
            case SourceDone():
                self._source_done(message)
            case WitnessDone():
                self._spool(message.report)
            case Halted():
                self._note(message.why)
                self._stop(Stop(reason=message.why))
            case _:
                assert_never(message)
        self._child.set_busy(bool(len(self)))

    def child_died(self, why: str) -> None:
        """Answer for the child in every round that it had."""
        for name, current in list(self._open.items()):
            if not isinstance(current.order, Arm):
                self._fail_source(current.order, current, why)
                del self._open[name]
                continue
            current.broken = why
            if not current.answered:
                current.answered = True
                self._armed(name, (why,), ok=False)
        self._asking.clear()
        self._child.set_busy(False)

    def expire(self) -> None:
        """Forget rounds that nobody closed in time (the packet child disarms them itself); end probing in a blackout."""
        _, not_now = self._allow()
        if not_now and (self._asking or any(current.sends for current in self._open.values())):
            self._note(not_now)
            self._stop(Stop(reason=not_now))
        for name in [name for name, current in self._open.items() if current.until < self._clock()]:
            del self._open[name]
        self._asking = {name: asking for name, asking in self._asking.items() if asking.until >= self._clock()}
        self._child.set_busy(bool(len(self)))

    def recheck(self) -> None:
        """Another allow-list is in force: end all probing at once where a round touches what it does not allow."""
        allow, _ = self._allow()
        under_way = (*self._open.values(), *self._asking.values())
        touched = {address for current in under_way for address in current.touches}
        if why := next(filter(None, map(allow.refuses, sorted(touched))), ""):
            self._note(why)
            self._stop(Stop(reason=why))
        self.expire()

    def _arm(self, order: Arm) -> None:
        refused, problems = self._refusals(order.inside)
        kept = kept_of(order.inside, refused)
        if refused and not kept:
            self._spool(SourceReport(round=order.round, agent=self._agent, role=Role.INSIDE, observations=refused))
        if not kept and not order.targets:
            self._armed(order.round, problems, ok=False)
            return
        current = _Round(order, self._clock() + order.ttl_s, refused, problems, sends=bool(kept))
        self._remember(order.round, current, kept)
        self._child.tell(msgspec.structs.replace(order, inside=kept))

    def _go(self, order: Go) -> None:
        if order.round in self._gone:
            return  # it was sent again, for fear that it was lost
        self._gone.append(order.round)
        refused, problems = self._refusals(order.targets)
        controls, not_allowed = self._controls(order)
        problems = (*problems, *not_allowed)
        kept = kept_of(order.targets, refused)
        current = _Round(order, self._clock() + SOURCE_S, refused, problems, sends=True)
        if not kept:
            self._finish(order.round, SourceReport(round=order.round, agent=self._agent), current, 0.0, ok=False)
            return
        self._remember(order.round, current, (*kept, *(each for each in order.controls if each in controls)))
        self._child.tell(msgspec.structs.replace(order, targets=kept, controls=controls))

    def _controls(self, order: Go) -> tuple[tuple[ControlTarget, ...], tuple[str, ...]]:
        """The controls that may be sent, and why others may not."""
        allow, _ = self._allow()
        reasons = {control: allow.refuses(control.address) for control in order.controls}
        asked = [control for control, why in reasons.items() if not why]
        if order.kind is not RoundKind.TRACE:
            asked += self._at_the_broker(order, allow, [control.address for control in asked])
        not_allowed = tuple(dict.fromkeys(why for why in reasons.values() if why))
        for why in not_allowed:
            self._note(f"a control of round {order.round}: {why}")
        return tuple(asked), tuple(f"control not allowed: {why}" for why in not_allowed)

    def _at_the_broker(self, order: Go, allow: AllowList, asked: Sequence[str]) -> list[ControlTarget]:
        """Controls of where this agent is connected, which its configuration names, and so allows.

        Behind address translation, a load balancer or a published port the coordinator does not know its own address. ICMP
        is left out: what hands ports on may answer an echo itself, and nothing would have got any further.
        """
        broker = self._broker()
        if broker is None or broker[0] in asked or allow.denies(broker[0]):
            return []
        address, port = broker
        if in_networks(address, tuple(map(ip_network, order.networks))):  # inside the environment it shows nothing
            return []
        return [ControlTarget(address=address, protocol=each, port=port) for each in (IpProtocol.TCP, IpProtocol.UDP)]

    def _close(self, order: Close) -> None:
        current = self._open.pop(order.round, None)
        if current is None or not isinstance(current.order, Arm):
            return
        if not current.broken:
            again = order.again and not self._allow()[1]
            if again and current.touches:
                self._asking[order.round] = replace(current, until=self._clock() + AGAIN_S)
            self._child.tell(msgspec.structs.replace(order, again=again))
            return
        addresses = dict.fromkeys(target.address for target in current.order.targets)
        health = tuple(WitnessHealth(address=address, healthy=False, why=current.broken) for address in addresses)
        self._spool(WitnessReport(round=order.round, agent=self._agent, health=health, problems=(current.broken,)))

    def _stop(self, order: Stop) -> None:
        """All probing ends within a second: the child is told, and killed when it has not ended soon."""
        self._child.tell(order)
        self._child.stop_within(STOP_S)
        why = f"stopped: {order.reason}" if order.reason else "stopped"
        for name, current in self._open.items():
            if isinstance(current.order, Go):  # what was stopped tried nothing: no observation, rather than an error
                report = SourceReport(round=name, agent=self._agent, raw=False, problems=(why,))
                self._finish(name, report, current, 0.0, ok=False)
        self._open.clear()
        self._asking.clear()

    def _source_done(self, message: SourceDone) -> None:
        report = message.report
        current = self._open.get(report.round)
        if report.role is not Role.SOURCE:
            if report.again:
                self._asking.pop(report.round, None)
            elif current:
                current.sends = False
            refused = current.refused if current else ()
            self._spool(replace(report, observations=(*report.observations, *refused)))
            return
        if current is None:  # stopped meanwhile, and answered for
            return
        del self._open[report.round]
        if report.problems and not report.observations and isinstance(current.order, Go):
            self._fail_source(current.order, current, "; ".join(report.problems))
            return
        self._finish(report.round, report, current, message.tail_s, ok=not report.problems)

    def _finish(self, name: str, report: SourceReport, current: _Round, tail_s: float, *, ok: bool) -> None:
        problems = (*report.problems, *current.problems)
        report = replace(report, observations=(*report.observations, *current.refused), problems=problems)
        sequence = self._spool(report)
        self._answer(
            Done(
                round=name, agent=self._agent, instance=self._instance, sequence=sequence, tail_s=tail_s, ok=ok,
                problems=problems,
            )
        )  # fmt: skip

    def _armed(self, name: str, problems: tuple[str, ...], *, ok: bool) -> None:
        self._answer(Armed(round=name, agent=self._agent, instance=self._instance, ok=ok, problems=problems))

    def _spool(self, report: SourceReport | WitnessReport) -> int:
        return self._put(replace(report, instance=self._instance))

    def _fail_source(self, order: Go, current: _Round, why: str) -> None:
        """An `error` observation for every target: a probe that crashed is not a target that was silent."""
        errors = tuple(error_at(t, Reason.LOCAL_ERROR, why) for t in kept_of(order.targets, current.refused))
        report = SourceReport(round=order.round, agent=self._agent, observations=errors, raw=False, problems=(why,))
        self._finish(order.round, report, current, 0.0, ok=False)

    def _refusals(self, targets: tuple[Target, ...]) -> tuple[tuple[Observation, ...], tuple[str, ...]]:
        """Error observations for the targets that must not be touched, and the reasons, each once."""
        allow, not_now = self._allow()
        refused, said = refusals(targets, lambda address: not_now or allow.refuses(address))
        for why in said:
            self._note(why)
        return refused, said

    def _remember(self, name: str, current: _Round, sent_to: Sequence[Target | ControlTarget]) -> None:
        while len(self._open) >= MOST_ROUNDS:
            del self._open[next(iter(self._open))]
        current.touches = frozenset(each.address for each in sent_to)
        self._open[name] = current
        self.began_at = self._clock()
