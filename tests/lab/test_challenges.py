"""Hundreds of open ports whose packets arrive without a token, or not before a handshake: each of them is found."""

from __future__ import annotations

import pytest

from tests.lab.open_ports import CLEAN, LOSSY, OPEN, judged, running, swept
from tests.lab.story import screen

pytestmark = [pytest.mark.lab]

REWRITES = """table ip mangle { chain f { type filter hook forward priority -5;
  ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst tcp sequence set 12345 \
tcp option timestamp tsval set 4711
}
}"""


# Loss on top, that no control shows: it is of the pair alone, and the source believes no answer of the pair's.
QUEUE_FULL = """table ip queue { chain f { type filter hook forward priority -6;
  ip saddr 10.10.0.0/24 ip daddr 10.30.0.10 tcp flags syn numgen random mod 100 < 60 drop
}
}"""
PROXIED = range(1001, 1041)
PROXY = f"""table ip proxy {{
  chain pre {{ type filter hook prerouting priority -300;
    ip saddr 10.10.0.0/24 ip daddr {LOSSY} tcp dport {PROXIED[0]}-{PROXIED[-1]} tcp flags syn notrack
  }}
  chain f {{ type filter hook forward priority -5;
    ip saddr 10.10.0.0/24 ip daddr {LOSSY} tcp dport {PROXIED[0]}-{PROXIED[-1]} ct state invalid,untracked \
      synproxy mss 1460 wscale 7 timestamp sack-perm
  }}
}}"""


@pytest.mark.long
def test_behind_a_firewall_that_rewrites_each_of_hundreds_of_open_ports_is_found() -> None:
    """And where it loses most of what it rewrites, none of them is green."""
    with running() as system:
        system.estate.nft("router", REWRITES)
        cells = swept(system)
        for address in LOSSY, CLEAN:
            count, wrong = judged(cells, address)
            assert not wrong, screen(wrong, 25)
            assert count["found"] >= 0.98 * count["open"], count
        system.estate.nft("router", QUEUE_FULL)
        cells = swept(system)
        count, wrong = judged(cells, LOSSY)
        assert not wrong, screen(wrong, 25)
        assert count["found"] >= 0.9 * count["open"], count


@pytest.mark.long
def test_what_a_syn_proxy_lets_through_is_found_in_a_sweep() -> None:
    """It answers the SYN of a sweep itself, and connects to the host only once it is connected to."""
    with running(listening=PROXIED[:10]) as system:
        system.estate.nft("router", PROXY)
        count, wrong = judged(swept(system), LOSSY)
        assert not wrong, screen(wrong, 25)
        assert count["found"] == count["open"] == len(OPEN), count
