"""What came out of a sweep, judged cell by cell over all that there must be."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.lab.story import screen
from tests.lab.truth import GREEN, RED, CellId, Scene

CLOSED_PROVEN = 0.98


def judged(scene: Scene, cells: dict[CellId, dict[str, Any]]) -> Counter[str]:
    """What came out, cell by cell over all that there must be; each wrong one is named."""
    count: Counter[str] = Counter()
    unproven: Counter[str] = Counter()
    wrong: list[str] = []
    for cell in scene.cells():
        agent, source, address, protocol, port = cell
        entry = cells.pop(cell, None)
        if entry is None:
            wrong.append(f"missing {cell}")
            continue
        crosses = scene.crosses(source, address, protocol, port)
        allowed = scene.is_declared(source, address, protocol, port)
        witnessed = scene.witnessed(address)
        reachability, result = entry["reachability"], entry["result"]
        said = f"{cell}: {reachability} ({entry['proof']}, row {entry['row']}, {entry['reason']}) {result}"
        if allowed:
            assert entry["declared"] == "allowed", said
            count["declared"] += 1
            continue
        if crosses:
            count["open"] += 1
            if reachability in GREEN or result == "pass":
                wrong.append(f"false green {said}")
            elif witnessed and result != "fail":
                wrong.append(f"hole not found {said}")
        else:
            if reachability in RED or result == "fail":
                wrong.append(f"false red {said}")
            if witnessed:
                count["closed on a witnessed address"] += 1
                count["proven"] += result == "pass"
                if result != "pass":
                    unproven[f"{agent} → {address} {protocol}: {result}, row {entry['row']}, {entry['reason']}"] += 1
    wrong += [f"not in the plan {cell}" for cell in cells]
    if wrong:
        raise AssertionError(screen([f"{len(wrong)} wrong:", *wrong], 25))
    ratio = count["proven"] / count["closed on a witnessed address"]
    if ratio < CLOSED_PROVEN:
        named = [f"{number} {said}" for said, number in unproven.most_common()]
        raise AssertionError(screen([f"only {ratio:.2%} of the closed cells proven", *named], 25))
    return count
