"""What an interface's counters say while something is sent: neither the tool's word nor ours."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab.estate import Estate

SAMPLER = Path(__file__).with_name("sampler.py")
START_S, AT_MOST_S = 0.5, 300.0
TAILS = 0.1  # of the packets at either end, which a rate leaves out


@dataclass(frozen=True, slots=True)
class Samples:
    """(seconds on the lab's clock, packets), at each change of the counter."""

    rows: tuple[tuple[float, int], ...]

    @property
    def packets(self) -> int:
        """All that went by."""
        return self.rows[-1][1] - self.rows[0][1]

    def span(self, least: int = 0) -> tuple[float, float]:
        """When the first and the last packet went by; of a burst of at least so many, what trickles before and after apart."""
        first, last = self.rows[0][1] + least, self.rows[-1][1] - least
        inside = [at for at, count in self.rows[1:] if first < count <= last]
        return inside[0], inside[-1]

    @property
    def pps(self) -> float:
        """Packets a second, the tails apart."""
        began, ended = self.span(int(TAILS * self.packets))
        return (1 - 2 * TAILS) * self.packets / max(0.001, ended - began)


class Counter:
    """Samples a counter of a host's interface while it is open."""

    def __init__(self, estate: Estate, host: str, name: str) -> None:
        self._path = estate.directory / f"{host}.{name}"
        with self._path.open("wb") as out:
            self._process = estate.spawn(host, [sys.executable, str(SAMPLER), name, str(AT_MOST_S)], stdout=out)
        time.sleep(START_S)

    def stop(self) -> Samples:
        """End it; what it saw."""
        time.sleep(START_S)
        self._process.kill()
        lines = [line.split() for line in self._path.read_text().splitlines() if line.count(" ") == 1]
        return Samples(tuple((float(at), int(count)) for at, count in lines))
