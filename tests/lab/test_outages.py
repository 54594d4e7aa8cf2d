"""Outages on the way, shorter than the spread: no open port is green for it, and what is cut off is unproven at most."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.columns import judged
from tests.lab.pair import AGENTS, deployed, scene
from tests.lab.services import serve
from tests.lab.small import DEV, PROD, SERVICES, STAGE, running, sent_by, topology, verify
from tests.lab.story import told
from tests.lab.truth import BRISK

pytestmark = [pytest.mark.lab]

SPREAD_S, OUTAGE_S = 4.0, 3.0
LEAK = f"ip saddr {DEV} ip daddr {PROD} tcp dport 22 accept"
OPEN = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("tcp", 22))}
# On the pair's path alone: to the coordinator, and to every other host, all goes as before.
OUTAGE = f"""table inet outage {{ chain f {{ type filter hook forward priority -5;
  ip saddr {DEV} ip daddr {PROD} counter drop
}}
}}"""
CUT_S = 2.0
SWEPT = 2000  # ports of either protocol


def test_an_outage_of_three_seconds_makes_no_open_port_green() -> None:
    """It takes all copies of the pair's round, which lasts about a second."""
    with running([LEAK], text=topology().replace(BRISK, f"spread: {SPREAD_S:g}s"), services=OPEN) as system:
        system.estate.nft("router", OUTAGE)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(verify, system)
            system.wait_for(lambda: dropped(system.estate) > 0, "the first packets of the pair")
            system.estate.run("router", ["sh", "-c", f"sleep {OUTAGE_S}; nft delete table inet outage"]).check()
            outcome = asked.result()
        assert outcome.says("dev-1", PROD, "tcp", 22)[:2] == ("fail", "reachable"), outcome.evidence(
            ("dev-1", DEV, PROD, "tcp", 22)
        )
        assert outcome.says("dev-1", PROD, "tcp", 23)[:3] == ("pass", "blocked", "witnessed")
        assert outcome.says("dev-1", STAGE, "tcp", 22)[:3] == ("pass", "blocked", "witnessed")
        shown = system.ask("explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/23")
        assert shown["evidence"]["span_s"] >= 0.9 * SPREAD_S


def dropped(estate: Estate) -> int:
    """Packets that the outage has taken."""
    table = estate.run("router", ["nft", "list", "table", "inet", "outage"]).check().stdout
    return sum(map(int, re.findall(r"counter packets (\d+)", table)))


def cut_at_the_switch(estate: Estate) -> Callable[[], None]:
    """The agent's own interface goes down with it."""
    estate.run("dev-1", ["ip", "link", "set", "eth0", "down"]).check()

    def mended() -> None:
        estate.run("dev-1", ["ip", "link", "set", "eth0", "up"]).check()
        estate.run("dev-1", ["ip", "route", "replace", "default", "via", "10.10.0.1"]).check()

    return mended


def cut_behind_the_router(estate: Estate) -> Callable[[], None]:
    """Nothing of the agent's gets any further; its interface knows nothing of it."""
    estate.nft(
        "router", "table inet cut { chain f { type filter hook prerouting priority -5; ip saddr 10.10.0.10 drop\n}\n}"
    )

    def mended() -> None:
        estate.run("router", ["nft", "delete", "table", "inet", "cut"]).check()

    return mended


@pytest.mark.soak
@pytest.mark.parametrize("cut", [cut_at_the_switch, cut_behind_the_router])
def test_a_link_that_is_cut_in_the_midst_of_a_sweep_makes_nothing_green(
    cut: Callable[[Estate], Callable[[], None]],
) -> None:
    drawn = scene(4, SWEPT, rate_pps=2000)
    with Estate(drawn.plan) as estate:
        for host in AGENTS:
            serve(estate, host, [(proto, port) for name, proto, port in drawn.services if name == host])
        system = deployed(estate, drawn)
        with told(system), ThreadPoolExecutor(1) as pool:
            before = sent_by(system, "dev-1")
            asked = pool.submit(System.verify, system, "--sweep", "--cells")
            system.wait_for(lambda: sent_by(system, "dev-1") > before + SWEPT // 2, "the first half of a pass")
            mended = cut(estate)
            time.sleep(CUT_S)
            mended()
            _, body = asked.result()
            count = judged(drawn, body["cells"], undecided=True)
            assert count["closed on a witnessed address"] > 0
