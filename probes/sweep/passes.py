"""The passes of a sweep: how fast the next one goes, from what controls and its own capture say that the last one lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.clock import monotonic
from probes.packets.raw_socket import Bucket
from probes.source.controls import Controls, Series
from probes.sweep.pace import Change, Pace
from reachability.vocabulary import ControlKind

LEAST_ASKED = 20  # controls of a pass that tell of its loss
ROUNDING_S = 0.001  # of the times that blocks keep


@dataclass(slots=True)
class _Pass:
    """The controls, the capture's counts and the packets when it began, and the controls when it ended."""

    since: dict[Series, int]
    captured: tuple[int, int]
    packets: int
    began: float = field(default_factory=monotonic)
    ended: float = 0.0
    until: dict[Series, int] = field(default_factory=dict)
    pps: float = 0.0


class Passes:
    """The pace of further copies: `bucket` holds them to it."""

    def __init__(self, controls: Controls, rate_pps: int) -> None:
        """`rate_pps`: the most that is ever asked for."""
        self._controls = controls
        self._pace = Pace(rate_pps)
        self._last: _Pass | None = None
        self.bucket = Bucket(rate_pps)

    def begin(self, packets: int, captured: tuple[int, int]) -> None:
        """A pass begins: packets sent so far; packets that its own capture saw and lost."""
        self._last = _Pass(self._asked(), captured, packets)

    def end(self, packets: int) -> None:
        """It ended."""
        if self._last is not None:
            self._last.ended, self._last.until = monotonic(), self._asked()
            self._last.pps = (packets - self._last.packets) / max(0.001, self._last.ended - self._last.began)

    def adapt(self, captured: tuple[int, int]) -> str:
        """Set the pace by what the last pass lost; what became of it in words, "" for nothing to say.

        A pass that went too fast is void: it counts for nothing.
        """
        last, self._last = self._last, None
        if last is None:
            return ""
        seen, missed = (now - then for now, then in zip(captured, last.captured, strict=True))
        groups = [(seen + missed, missed)]
        for pair in (True, False):
            asked = [
                index in series.answered
                for series, end in last.until.items()
                if series.answered and (series.kind == ControlKind.PAIR) is pair
                for index in range(last.since.get(series, 0), end)
            ]
            if len(asked) >= LEAST_ASKED:
                groups.append((len(asked), asked.count(False)))
        sent, lost = max(groups, key=lambda group: group[1] / max(1, group[0]))
        change = self._pace.passed(sent, lost, last.pps)
        self.bucket.rate = self._pace.rate
        if change is Change.RESTORED:
            self._controls.void.clear()
        if change is not Change.FELL:
            return ""
        self._controls.void.append((last.began - ROUNDING_S, last.ended + ROUNDING_S))
        said = f"{lost / sent:.0%} of the answers were lost at {last.pps:,.0f} packets/s"
        return f"{said}: further copies went at {self._pace.rate:,}"

    def _asked(self) -> dict[Series, int]:
        return {series: len(series.sent) for series in self._controls.series}
