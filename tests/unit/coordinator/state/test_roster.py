"""What a status makes of what was known, and which are not taken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from coordinator.state.roster import AgentState, refusal, said
from coordinator.topology.load import parse_topology
from tests.support.coordinator import TOPOLOGY
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

KNOWN = AgentState(name="dev-1", environment="dev", instance="a", number=3, two_holders=False)


def status(**changes: Any) -> Status:
    known = Status(name="dev-1", environment="dev", online=True, instance="b", number=1)
    return msgspec.structs.replace(known, **changes)


@pytest.mark.parametrize(
    ("topic", "changes", "why"),
    [
        (("dev", "dev-1"), {}, ""),
        (("dev", "dev-9"), {"name": "dev-9"}, "agent 'dev-9' is not in topology.yaml"),
        (("dev", "dev-1"), {"name": "prod-1"}, "'dev-1' of 'dev' claims to be 'prod-1' of 'dev'"),
        (("prod", "dev-1"), {"environment": "prod"}, "'dev-1' of 'prod' claims to be 'dev-1' of 'prod'"),
        (("dev", "dev-1"), {"generation": 1}, "'dev-1' uses a certificate that is revoked"),
        (("dev", "dev-1"), {"generation": 2}, ""),
        (("dev", "dev-1"), {"generation": -1}, ""),
        (("dev", "dev-1"), {"addresses": ("10.10.0.10",) * 1024}, ""),
        (
            ("dev", "dev-1"),
            {"addresses": ("10.10.0.10",) * 1025},
            "'dev-1' says that it has 1025 addresses; the most of a host is 1024",
        ),
    ],
)
def test_which_statuses_are_refused(topic: tuple[str, str], changes: dict[str, Any], why: str) -> None:
    topology = parse_topology(TOPOLOGY.encode())
    assert (
        refusal(
            UpTopic(*topic, UpChannel.STATUS),
            status(**changes),
            topology,
            {"dev-1": 2 if "generation" in changes else 0},
        )
        == why
    )


def test_how_many_live_under_a_name_is_part_of_what_is_known() -> None:
    two = said(KNOWN, status(), 1.0, retained=False, two_holders=True)
    assert (two.two_holders, two.instance) == (True, "b")
    assert not said(two, status(number=2), 2.0, retained=False, two_holders=False).two_holders
