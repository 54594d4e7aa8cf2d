"""How `explain` tells hosts files, search domains, wildcards and TTLs apart."""

from __future__ import annotations

import msgspec

from cli.show.explanation import explanation
from cli.show.names import seen
from cli.show.render import Paint
from coordinator.api.responses.names import Name, NameAt
from tests.support.sample import Estate


def at(agent: str, *addresses: str, **more: object) -> NameAt:
    return NameAt(agent=agent, environment="dev", addresses=addresses, **more)  # type: ignore[arg-type]


NAME = Name(
    name="db.prod",
    seen=(
        at("dev-1", problem="Name or service not known"),
        at("dev-2", "10.30.0.22", "10.30.0.21", origin="dns", ttl_s=300),
        at("dev-3", "10.30.0.21", "10.30.0.22", origin="dns", ttl_s=12),
        at("test-1", "10.30.0.21", origin="hosts-file"),
        at(
            "test-2",
            "10.9.9.9",
            origin="dns",
            ttl_s=1,
            full_name="db.prod.corp.example",
            wildcard="*.prod.corp.example",
        ),
        at("prod-1", "10.30.0.21", origin="other"),
        at("prod-2", "10.30.0.21"),
        at("prod-3", "10.30.0.23", origin="new-word"),
        at("\x1b[2Jb", "10.30.0.24"),
    ),
)


def test_each_answer_says_where_it_is_from() -> None:
    assert seen(NAME) == [
        "db.prod is not known to dev-1: Name or service not known",
        "db.prod is 10.30.0.21, 10.30.0.22 for dev-2, dev-3, from DNS, TTL 12 seconds",
        "db.prod is 10.30.0.21 for test-1, from the hosts file of its host",
        (
            "db.prod is 10.9.9.9 for test-2, from DNS, by a search domain: asked as db.prod.corp.example, by the wildcard "
            "*.prod.corp.example: a name that was made up leads there too, TTL 1 second"
        ),
        "db.prod is 10.30.0.21 for prod-1, not from DNS, which does not know it: from another source of its nsswitch.conf",
        "db.prod is 10.30.0.21 for prod-2",
        "db.prod is 10.30.0.23 for prod-3, from new-word",
        "db.prod is 10.30.0.24 for ·[2Jb",
    ]


def test_explain_shows_them_under_what_is_declared() -> None:
    body = Estate().explain(asked=("dev-1", "10.30.0.21", "tcp/5000"))
    lines = explanation(msgspec.structs.replace(body, names=(NAME,)), Paint(color=False))
    labels = [line.split(" ", 1)[0] for line in lines if line[:1].strip()]
    assert labels.index("names") == labels.index("declared") + 1
    assert "db.prod is 10.30.0.21 for test-1, from the hosts file" in "\n".join(lines)
    assert "names" not in [line.split(" ", 1)[0] for line in explanation(body, Paint(color=False))]
