"""How far this host's clock is from the coordinator's, by its last plan: for `segwatch agent --check`, trusted by nobody."""

from __future__ import annotations

from pathlib import Path

FILE = "clock"
SAME_S, EVERY_S = 1.0, 600.0


def record(state_dir: Path, ahead_s: float, now: float) -> None:
    """Leave it for people; where it cannot be written they do without. Plans come twice a minute: what says the same is kept."""
    was = recorded(state_dir)
    if was is not None and abs(was[0] - ahead_s) < SAME_S and 0 <= now - was[1] < EVERY_S:
        return
    try:
        (state_dir / FILE).write_text(f"{ahead_s:.1f} {now:.0f}\n")
    except OSError:
        return


def recorded(state_dir: Path) -> tuple[float, float] | None:
    """Seconds that this host is ahead, and when that was (epoch seconds, by this host); None where nothing is known."""
    try:
        ahead, at = (state_dir / FILE).read_text().split()
        return float(ahead), float(at)
    except (OSError, ValueError):
        return None
