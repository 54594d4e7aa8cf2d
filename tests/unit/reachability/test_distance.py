"""Who sent what came in a host's name."""

from __future__ import annotations

import pytest

from reachability.distance import Closer, closer

ROUTED = "eth0 10.10.0.1"


@pytest.mark.parametrize(
    ("hops", "host_hops", "via", "who"),
    [
        (0, 1, ROUTED, Closer.PATH),
        (1, 3, ROUTED, Closer.PATH),
        (1, 1, ROUTED, Closer.AS_FAR_AS_THE_HOST),
        (2, 1, ROUTED, Closer.AS_FAR_AS_THE_HOST),
        (0, 0, "eth0 direct", Closer.AS_FAR_AS_THE_HOST),
        (None, 1, ROUTED, Closer.UNKNOWN),
        (0, None, ROUTED, Closer.PATH),
        (1, None, ROUTED, Closer.UNKNOWN),
        (0, None, "eth0 direct", Closer.UNKNOWN),
        (0, None, "", Closer.UNKNOWN),
    ],
)
def test_closer(hops: int | None, host_hops: int | None, via: str, who: Closer) -> None:
    assert closer(hops, host_hops, via) is who
