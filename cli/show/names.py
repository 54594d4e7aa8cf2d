"""What a name leads to at each agent, and where that is from: hosts file, search domain, wildcard, TTL."""

from __future__ import annotations

from cli.show.render import clean, plural
from coordinator.api.responses.names import Name, NameAt

_ORIGINS = {
    "hosts-file": "from the hosts file of its host",
    "dns": "from DNS",
    "other": "not from DNS, which does not know it: from another source of its nsswitch.conf",
}


def seen(name: Name) -> list[str]:
    """A line for each answer, with all who have it; the TTL is the least of theirs."""
    groups: dict[tuple[str, ...], list[NameAt]] = {}
    for at in name.seen:
        groups.setdefault((", ".join(sorted(at.addresses)), *_from(at)), []).append(at)
    return [clean(_line(name.name, group)) for group in groups.values()]


def _line(name: str, group: list[NameAt]) -> str:
    agents, first = ", ".join(at.agent for at in group), group[0]
    if not first.addresses:
        return f"{name} is not known to {agents}: {first.problem or 'no address'}"
    ttl = min((at.ttl_s for at in group if at.ttl_s is not None), default=None)
    words = [*_from(first), *([] if ttl is None else [f"TTL {plural(ttl, 'second')}"])]
    return ", ".join([f"{name} is {', '.join(sorted(first.addresses))} for {agents}", *words])


def _from(at: NameAt) -> list[str]:
    words = [_ORIGINS.get(at.origin, f"from {at.origin}")] if at.origin else []
    if at.full_name:
        words.append(f"by a search domain: asked as {at.full_name}")
    if at.wildcard:
        words.append(f"by the wildcard {at.wildcard}: a name that was made up leads there too")
    return words
