"""The destination of `segwatch try`: listens, hears what the source sent, and concludes from both.

That nothing came counts only with the source's report, which is made after its last packet: so the witness has listened
to the end, and no clock of one side is compared with one of the other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cli.errors import Problem
from cli.trial.child import Outcome, TrialChild, Voice, cells_of, with_child
from cli.trial.meeting import Caller, Meeting
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.requests import go, narrowed
from reachability.arrival import WitnessReport
from reachability.evidence import Conclusion, conclude
from reachability.followups import MOST_FOLLOWUPS, FollowUp
from reachability.observation import SourceReport
from reachability.round_data import RoundData, RoundSpec
from reachability.vocabulary import RoundKind
from wire.envelope import BadMessage
from wire.messages import Arm
from wire.trial import DESTINATION, SENT, SOURCE, TOLD, Concluded, Follow, Line, Seal, Sent, digest, from_text, to_text

WITHIN_S = 1800.0  # that it listens for a source that does not come


class Destination:
    """Listens for one source."""

    def __init__(self, line: Line, voice: Voice, control: tuple[str, int]) -> None:
        self._line, self._voice = line, voice
        self._child = TrialChild(DESTINATION, control=control)
        self._seal = Seal(line)
        self._meeting, self._echo = Meeting(self._seal), Echo()

    async def run(self, armed: Callable[[Line, tuple[str, ...]], None]) -> Outcome:
        """From arming to the verdict; `armed(line, problems)` is called when the source may start."""
        addresses = list(dict.fromkeys(asked.address for asked in self._line.asked))
        try:
            try:
                await self._meeting.listen(addresses, self._line.meet)
            except OSError as error:
                why = f"port {self._line.meet} cannot be listened on: {error.strerror}"
                raise Problem(why, "--meet PORT names another.") from error
            await self._echo.listen(addresses, self._line.meet)
            self._echo.know(self._line.round, self._line.key)
            return await with_child(self._child, self._serve(armed))
        finally:
            self._meeting.close()
            self._echo.close()

    async def _serve(self, armed: Callable[[Line, tuple[str, ...]], None]) -> Outcome:
        spec = self._line.spec()
        armed(self._line, await self._child.arm(_arm(spec, self._line.key, None)))
        came = await self._first()
        witness = await self._child.close(self._line.round)
        if came is None:
            return self._outcome(witness=witness)
        sent, caller = came
        rounds = [_round(spec, sent.report, witness)]
        conclusion = self._conclude(rounds)
        if caller is not None:
            try:
                conclusion = await self._follow(caller, rounds, conclusion)
            except (BadMessage, OSError, TimeoutError) as error:
                self._voice.say(f"the source is gone: {error or 'no answer'}")
                caller = None
        cells = cells_of(conclusion)
        told = Concluded(of=digest(sent.report), cells=cells, listened_s=witness.listened_s)
        await self._tell(told, caller)
        return self._outcome(cells=cells, complete=True, witness=witness)

    async def _first(self) -> tuple[Sent, Caller | None] | None:
        """The source's report; None when this side ends without one."""
        async with asyncio.TaskGroup() as group:
            met = group.create_task(self._meeting.callers.get(), name="meeting")
            carried = group.create_task(self._carried(), name="standard input")
            await asyncio.wait({met, carried}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            found = met.result() if met.done() else carried.result() if carried.done() else None
            for task in (met, carried):
                task.cancel()
        return found

    async def _carried(self) -> tuple[Sent, None] | None:
        """The same from standard input; None for an empty line."""
        while (text := await self._voice.pasted.next()) is not None:
            if not text:
                return None
            try:
                sent = self._seal.sent(from_text(SENT, text))
            except BadMessage as error:
                self._voice.say(f"that is not a report from this try's source: {error}")
                continue
            return sent, None
        await asyncio.Event().wait()  # nobody will type here: the source may still come by itself
        return None

    async def _follow(self, caller: Caller, rounds: list[RoundData], conclusion: Conclusion) -> Conclusion:
        """Further rounds that settle what is open, as a coordinator would ask for them."""
        count = 0
        while conclusion.followups and count < MOST_FOLLOWUPS:
            for follow in conclusion.followups:
                count += 1
                rounds.append(await self._further(caller, follow))
            conclusion = self._conclude(rounds)
        return conclusion

    def _conclude(self, rounds: Sequence[RoundData]) -> Conclusion:
        """With what came late meanwhile."""
        late = self._child.late
        return conclude(
            [replace(r, witnesses=(*r.witnesses, *(w for w in late if w.round == r.spec.round))) for r in rounds]
        )

    async def _further(self, caller: Caller, follow: FollowUp) -> RoundData:
        self._voice.say(f"one more round: {follow.kind.value}")
        spec, key = narrowed(self._line.spec(), follow, secrets.token_hex(4)), secrets.token_bytes(16)
        self._echo.know(spec.round, key)
        await self._child.arm(_arm(spec, key, follow))
        await caller.tell(Follow(go=go(spec, key, (), self._line.controls(), follow)))
        sent = await caller.sent()
        return _round(spec, sent.report, await self._child.close(spec.round))

    async def _tell(self, told: Concluded, caller: Caller | None) -> None:
        if caller is not None:
            try:
                await caller.tell(told)
            except OSError:
                caller = None
            else:
                await caller.close()
        if caller is None:
            self._voice.hand("Paste this line at the source, where it waits", to_text(TOLD, self._seal.close(told)))

    def _outcome(self, **more: Any) -> Outcome:
        witness: WitnessReport = more["witness"]
        lacks = self._child.lacks
        problems = (*(witness.problems if not lacks else ()), *self._child.problems)
        return Outcome(**more, listened_s=witness.listened_s, lacks=lacks, problems=problems)


def _arm(spec: RoundSpec, key: bytes, follow: FollowUp | None) -> Arm:
    return Arm(
        round=spec.round,
        key=key,
        kind=RoundKind.NORMAL if follow is None else follow.kind,
        source=SOURCE,
        targets=spec.targets,
        groups=follow.groups if follow else (),
        ttl_s=2 * WITHIN_S,
    )


def _round(spec: RoundSpec, report: SourceReport, witness: WitnessReport) -> RoundData:
    return RoundData(spec=spec, source=report, witnesses=(witness,), armed={DESTINATION: True})
