"""Hundreds of open ports whose packets arrive without a token: they are found, and none of them is green."""

from __future__ import annotations

import pytest

from tests.lab.open_ports import CLEAN, LOSSY, judged, running, swept
from tests.lab.story import screen

pytestmark = [pytest.mark.lab]

REWRITES = """table ip mangle { chain f { type filter hook forward priority -5;
  ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst tcp sequence set 12345 \
tcp option timestamp tsval set 4711
}
}"""


@pytest.mark.long
def test_behind_a_firewall_that_rewrites_hundreds_of_open_ports_are_found_and_none_is_green() -> None:
    """All of them, unless this machine was too busy to keep the pattern: a challenge that fell behind decides nothing."""
    with running() as system:
        system.estate.nft("router", REWRITES)
        cells = swept(system)
        for address in LOSSY, CLEAN:
            count, wrong = judged(cells, address)
            assert not wrong, screen(wrong, 25)
            assert count["found"] > 0, count
