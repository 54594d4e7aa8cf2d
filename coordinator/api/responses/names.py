"""What DNS names lead to, as each agent sees it."""

from __future__ import annotations

import msgspec


class NameAt(msgspec.Struct, frozen=True, kw_only=True):
    """A name at an agent's host; `problem` says why there is no address.

    `origin`: hosts-file, dns, or other (DNS does not know it: another source of nsswitch.conf). `full_name` is what DNS was
    asked for where a search domain made it another, `ttl_s` the seconds that its answer was good for, `wildcard` such as
    `*.prod.internal`: a name that was made up leads to the same. Null: not known, or not so.
    """

    agent: str
    environment: str
    addresses: tuple[str, ...]
    problem: str | None = None
    origin: str | None = None
    full_name: str | None = None
    ttl_s: int | None = None
    wildcard: str | None = None


class Name(msgspec.Struct, frozen=True, kw_only=True):
    """A name of the topology; `seen` has the agents that were asked for it, in the order of the topology."""

    name: str
    seen: tuple[NameAt, ...]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Every DNS name of the topology in force."""

    names: tuple[Name, ...]
