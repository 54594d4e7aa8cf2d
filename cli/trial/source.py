"""The source of `segwatch try`: sends, and gets its report to the destination, by itself or by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from cli.errors import Problem
from cli.trial.asked import resolve
from cli.trial.child import Outcome, TrialChild, Voice, cells_of, with_child
from cli.trial.meeting import Caller, dial
from coordinator.rounds.requests import go
from probes.protocols.udp_payloads import REQUESTS
from reachability.evidence import conclude
from reachability.observation import ControlTarget, SourceReport
from reachability.round_data import RoundData
from reachability.topology import is_address
from reachability.vocabulary import ControlKind, Protocol
from wire.envelope import BadMessage
from wire.messages import Go
from wire.trial import SENT, SOURCE, TOLD, Concluded, Line, Seal, Sent, digest, from_text, to_text

COPIES = 8  # so that what arrived of one port alone tells enough of the loss
LEAST_TAIL_S = 0.2


class Source:
    """Sends to one destination."""

    def __init__(
        self, line: Line, voice: Voice, outside: tuple[ControlTarget, ...], places: tuple[tuple[str, int], ...]
    ) -> None:
        """`outside`: further controls; `places`: where reports are taken, the destination's own first."""
        self._line, self._voice, self._outside, self._places = line, voice, outside, places
        self._child = TrialChild(SOURCE)
        self._seal = Seal(line)

    async def run(self) -> Outcome:
        """From the first packet to the verdict."""
        return await with_child(self._child, self._try())

    async def _try(self) -> Outcome:
        order = go(self._line.spec(), self._line.key, (), self._line.controls(), None)
        report, caller = await self._send(msgspec.structs.replace(order, copies=COPIES), first=True)
        if caller is not None:
            try:
                return self._both(await self._exchange(caller, report))
            except (BadMessage, OSError, TimeoutError) as error:
                self._voice.say(f"the reports did not meet: {error or 'no answer'}")
        else:
            where = " and ".join(f"{host}:{port}" for host, port in self._places)
            self._voice.say(f"the reports cannot meet by themselves: {where} takes no connection from here")
        told = await self._carry(report)
        if told is not None:
            return self._both(told)
        spec = self._line.spec()
        alone = replace(spec, targets=tuple(replace(target, witness="") for target in spec.targets))
        cells = cells_of(conclude([RoundData(spec=alone, source=report)]))
        return Outcome(cells=cells, lacks=self._child.lacks, problems=report.problems)

    async def _send(self, order: Go, *, first: bool = False) -> tuple[SourceReport, Caller | None]:
        """Do a round; its report may be handed on when this returns, and the first one finds its way meanwhile."""
        done = await self._child.go(msgspec.structs.replace(order, controls=(*order.controls, *self._outside)))
        if done.report.problems and not done.report.observations:
            raise Problem(*done.report.problems)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(max(LEAST_TAIL_S, done.tail_s)), name="tail")
            dialling = group.create_task(dial(self._seal, self._places if first else ()), name="dial")
        return replace(done.report, kept=()), dialling.result()

    async def _exchange(self, caller: Caller, report: SourceReport) -> Concluded:
        await caller.tell(Sent(report=report))
        while not isinstance(told := await caller.told(), Concluded):
            self._voice.say(f"one more round: {told.go.kind.value}")
            further, _ = await self._send(self._checked(told.go))
            await caller.tell(Sent(report=further))
        await caller.close()
        return self._of(told, report)

    def _checked(self, order: Go) -> Go:
        """A further round goes where the line says, and nowhere else."""
        known = {(t.address, t.protocol): t.ports for t in self._line.targets()}
        addresses = {asked.address for asked in self._line.asked}
        for target in order.targets:
            ports = known.get((target.address, target.protocol))
            if ports is None or target.ports - ports:
                raise BadMessage("the destination asks for ports that its line does not name")
        if any(control.address not in addresses for control in order.controls):
            raise BadMessage("the destination names a control that its line does not")
        return order

    async def _carry(self, report: SourceReport) -> Concluded | None:
        """By hand; None when the person has no answer to give."""
        self._voice.hand(
            "Paste this line at the destination, where it waits", to_text(SENT, self._seal.close(Sent(report=report)))
        )
        self._voice.say("Then paste its answer here. Enter alone ends with what this side can tell.")
        while text := await self._voice.pasted.next():
            try:
                told = self._seal.told(from_text(TOLD, text))
                if isinstance(told, Concluded):
                    return self._of(told, report)
            except BadMessage as error:
                self._voice.say(f"that is not an answer to this report: {error}")
        return None

    def _of(self, told: Concluded, report: SourceReport) -> Concluded:
        if told.of != digest(report):
            raise BadMessage("it answers another report")
        return told

    def _both(self, told: Concluded) -> Outcome:
        return Outcome(cells=told.cells, complete=True, listened_s=told.listened_s, lacks=self._child.lacks)


def outside(host: str, port: int) -> tuple[ControlTarget, ...]:
    """Controls at something beyond the source's gateway: TCP, ICMP, and UDP where the port's usual service is known."""
    protocols = [Protocol.TCP, Protocol.ICMP] + ([Protocol.UDP] if port in REQUESTS else [])
    return tuple(
        ControlTarget(
            address=address, protocol=protocol, port=0 if protocol is Protocol.ICMP else port, kind=ControlKind.OUTSIDE
        )
        for address in ([host] if is_address(host) else resolve(host))
        for protocol in protocols
    )
