"""Hundreds of open ports behind a path that loses packets by chance, beside a host that loses none: none of them is green."""

from __future__ import annotations

import pytest

from tests.lab.open_ports import CLEAN, LOSSY, judged, running, swept
from tests.lab.story import screen

pytestmark = [pytest.mark.lab]

# Each packet by itself and both ways, as radio or a full link loses them; to and from one host alone.
LOSS = """add table ip loss
delete table ip loss
table ip loss {{ chain f {{ type filter hook forward priority -5;
  ip saddr 10.10.0.0/24 ip daddr {address} numgen random mod 100 < {percent} drop
  ip saddr {address} ip daddr 10.10.0.0/24 numgen random mod 100 < {percent} drop
}}
}}"""


@pytest.mark.long
def test_no_open_port_is_green_however_much_is_lost_and_the_host_beside_is_as_it_was() -> None:
    with running() as system:
        for percent in 5, 20, 40:
            system.estate.nft("router", LOSS.format(address=LOSSY, percent=percent))
            cells = swept(system)
            lossy, wrong = judged(cells, LOSSY)
            clean, more = judged(cells, CLEAN)
            wrong += more
            assert not wrong, screen([f"at {percent}% lost:", *wrong], 25)
            assert lossy["found"] >= 0.98 * lossy["open"], (percent, lossy)
            assert clean["found"] == clean["open"], (percent, clean)
            assert clean["proven"] >= 0.98 * clean["closed"], (percent, clean)
