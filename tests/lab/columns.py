"""What came out of a sweep of every port, judged by columns: the truth from the rules alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.lab.story import screen
from tests.lab.truth import GREEN, RED, Rule, Scene, bare

ALL = 65535
Key = tuple[str, str, str, str]  # agent, source address, address, protocol
Mask = NDArray[np.bool_]


def matching(rules: tuple[Rule, ...], source: str, address: str, protocol: str, *, accepts: bool) -> Mask:
    """Ports whose first matching rule accepts (or, for declarations: that any rule matches)."""
    result = np.zeros(ALL + 1, bool)
    decided = np.zeros(ALL + 1, bool)
    for rule in rules:
        if rule.matches(source, address, protocol, rule.low):
            span = np.zeros(ALL + 1, bool)
            span[rule.low : rule.high + 1] = True
            fresh = span & ~decided
            result[fresh] = rule.action == "accept" if accepts else True
            decided |= span
    return result


def keys(scene: Scene) -> set[Key]:
    """Everything that a sweep spans; each has all ports of its protocol."""
    found = set()
    for agent, source, address, protocol, _ in small(scene).cells():
        if protocol != "icmp":
            found.add((agent, source, address, protocol))
    return found


def small(scene: Scene) -> Scene:
    """The same estate with two ports a protocol: for its addresses."""
    fields = {name: getattr(scene, name) for name in Scene.__dataclass_fields__}
    return Scene(**{**fields, "sweep": {"tcp": range(1, 2), "udp": range(1, 2)}})


def spans(text: str) -> list[tuple[int, int]]:
    """The ranges of `"1-79,81"`."""
    parts = [part.partition("-") for part in text.split(",")]
    return [(int(low), int(high or low)) for low, _, high in parts]


def judged(
    scene: Scene, entries: list[dict[str, Any]], *, undecided: bool = False, blind: Collection[str] = ()
) -> Counter[str]:
    """Over all cells that there must be: what is wrong is named with its ports.

    `undecided`: holes may be. `blind`: agents without a capture, which can witness nothing and prove nothing closed.
    """
    by_key: dict[Key, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry["protocol"] != "icmp":
            key = (entry["agent"], entry["source_address"], entry["address"], entry["protocol"])
            by_key.setdefault(key, []).append(entry)
    wanted = keys(scene)
    assert set(by_key) == wanted, set(by_key) ^ wanted
    count: Counter[str] = Counter()
    wrong: list[str] = []
    for key in sorted(wanted):
        agent, source, address, protocol = key
        most = scene.sweep[protocol][-1]
        opened = matching(scene.rules, source, address, protocol, accepts=True)
        allowed = matching(scene.declared, source, address, protocol, accepts=False)
        witnessed = any(address in bare(host) for name, host in scene.agents.items() if name not in blind)
        times = np.zeros(ALL + 1, np.uint8)
        for entry in by_key[key]:
            here = np.zeros(ALL + 1, bool)
            for low, high in spans(entry["ports"]):
                here[low : high + 1] = True
            times += here
            reachability, result = entry["reachability"], entry["result"]
            crosses, closed = here & opened & ~allowed, here & ~opened & ~allowed
            bad: dict[str, Mask] = {
                "false green": crosses if reachability in GREEN or result == "pass" else np.zeros_like(here),
                "hole not found": crosses if witnessed and not undecided and result != "fail" else np.zeros_like(here),
                "false red": closed if reachability in RED or result == "fail" else np.zeros_like(here),
            }
            if agent in blind:
                bad["green without a capture"] = here if reachability in GREEN else np.zeros_like(here)
            for name, ports in bad.items():
                if ports.any():
                    said = f"{reachability} ({entry['proof']}, row {entry['row']}, {entry['reason']}) {result}"
                    wrong.append(f"{name} {key} {ports.sum()} ports from {int(ports.argmax())}: {said}")
            count["open"] += int(crosses.sum())
            count["declared"] += int((here & allowed).sum())
            if witnessed and agent not in blind:
                count["closed on a witnessed address"] += int(closed.sum())
                count["proven"] += int(closed.sum()) * (result == "pass")
        if not (times[1 : most + 1] == 1).all() or (times > 1).any():
            wrong.append(f"{int((times[1 : most + 1] != 1).sum())} cells of {key} are missing, or in two entries")
    if wrong:
        raise AssertionError(screen([f"{len(wrong)} wrong:", *wrong], 25))
    return count
