"""Sweeps of every port over networks that lose, translate, rewrite, limit, disturb: undecided is allowed there, wrong is not."""

from __future__ import annotations

import random
import sys

import pytest

from lab.estate import Estate
from probes.packets.port_arrays import WINDOWS
from tests.lab.columns import ALL
from tests.lab.pair import DEV, NETWORKS, PROD, scene, sweep
from tests.lab.truth import Rule, Scene

pytestmark = [pytest.mark.lab]


def lossy(per_mille: int) -> str:
    """Loss both ways that hangs on a copy's two ports alone, of all but what the agents' connections to the broker need."""
    return (
        "table inet loss { chain f { type filter hook forward priority -5; tcp dport 8883 accept; tcp sport 8883 accept;\n"
        f"jhash @th,0,32 mod 1000 seed 0x5eed < {per_mille} drop\n}}\n}}\n"
    )


LIMITED = f"""table inet limited {{ chain f {{ type filter hook forward priority -5;
  ip saddr 10.10.0.0/24 ip daddr {PROD} meta l4proto {{ tcp, udp }} th dport 20000-29999 jump few
  }}
  chain few {{ limit rate 10/second burst 5 packets reject with icmpx type admin-prohibited
  drop
  }}
}}"""
NAT = """table ip nat { chain post { type nat hook postrouting priority 100;
  ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 masquerade
  ip saddr 10.30.0.0/24 ip daddr 10.10.0.0/24 masquerade\n}\n}\n"""
REWRITES = """table inet mangle { chain f { type filter hook forward priority -5;
  ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst tcp sequence set 12345 %s\n}\n}\n"""
SLOW = """table inet slow { chain f { type filter hook forward priority -5;
  tcp dport 8883 ct state established accept
  ip saddr 10.10.0.0/24 %s limit rate over 20000/second burst 1000 packets drop
  }
}"""
FULL = """table ip full { set talks { type ipv4_addr; flags dynamic; }
  chain f { type filter hook forward priority -5;
    ip saddr 10.10.0.10 ip daddr 10.30.0.0/24 ct state new add @talks { ip saddr ct count over 1000 } drop
  }
}"""


ASKED = WINDOWS[0][0] + 5  # a port of prod's that dev asks, from another window than the one that is sent to
TALKS = f"""import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{PROD}", {ASKED}))
ends = time.monotonic() + 600
while time.monotonic() < ends:
    for port in range({WINDOWS[2][0]}, {WINDOWS[2][1] + 1}):
        s.sendto(b"a probe of another's", ("{DEV}", port))
    time.sleep(2)
"""


def talking(estate: Estate) -> None:
    """As the far agent's own probes of this one's source ports come, with no witness's round that looks at them."""
    passes = f"insert rule inet lab forward ip saddr {PROD} udp sport {ASKED} ip daddr {DEV} accept"
    estate.nft("router", passes)
    estate.spawn("prod-1", [sys.executable, "-c", TALKS])


@pytest.mark.soak
def test_what_the_far_host_sends_to_a_source_port_of_another_question_is_no_answer() -> None:
    assert sweep(scene(1), devices=talking, undecided=True) >= 0.95


@pytest.mark.parametrize(
    ("per_mille", "least"),
    [pytest.param(10, 0.98, id="1%"), pytest.param(100, 0.9, id="10%")],
)
@pytest.mark.soak
def test_loss(per_mille: int, least: float) -> None:
    assert sweep(scene(1), faults=lossy(per_mille)) >= least


def test_a_router_sends_few_icmp_errors() -> None:
    drawn = scene(2)
    limited = tuple(Rule(NETWORKS["dev"], PROD, p, 20000, 29999, "icmp") for p in ("tcp", "udp"))
    drawn = Scene(**{**{f: getattr(drawn, f) for f in Scene.__dataclass_fields__}, "rules": (*limited, *drawn.rules)})
    assert sweep(drawn, faults=LIMITED) >= 0.98


def test_a_path_that_carries_less_than_we_send() -> None:
    """The first copy goes too fast for it: what is lost is sent again, slower, or stays undecided; nothing comes out wrong."""
    assert sweep(scene(9, 20_000), faults=SLOW % "", undecided=True) >= 0.3


@pytest.mark.soak
def test_a_path_to_the_pair_alone_that_carries_less_than_we_send() -> None:
    """No control that goes elsewhere shows it: what the witness saw of the open ports does."""
    sweep(scene(9, 20_000), faults=SLOW % "ip daddr 10.30.0.0/24", undecided=True)


@pytest.mark.soak
def test_nat() -> None:
    assert sweep(scene(3), faults=NAT) >= 0.98


@pytest.mark.soak
@pytest.mark.parametrize(
    "more", ["", "tcp option timestamp tsval set 4711"], ids=["sequence", "sequence-and-timestamp"]
)
def test_a_firewall_rewrites_sequence_numbers(more: str) -> None:
    # Without any token, a few ports can be challenged; the other protocol and direction are untouched.
    ratio = sweep(scene(4), faults=REWRITES % more, undecided=bool(more))
    assert ratio >= (0.5 if more else 0.98)


@pytest.mark.soak
def test_busy_foreign_traffic_on_a_hundred_ports() -> None:
    ports = random.Random(5).sample(range(1, ALL), 50)
    assert sweep(scene(5), noise=ports) >= 0.98


@pytest.mark.parametrize("most", [pytest.param(1500), pytest.param(3000, marks=pytest.mark.soak)])
def test_delay_reordering_and_duplicates(most: int) -> None:
    assert sweep(scene(6, most, 1500), relay=True) >= 0.98


@pytest.mark.soak
def test_a_router_that_holds_a_thousand_connections() -> None:
    """What the full table stopped looks like a firewall: undecided is right, green is not."""
    sweep(scene(7, actions=("accept", "accept", "drop")), faults=FULL, undecided=True)


@pytest.mark.parametrize("most", [pytest.param(8000), pytest.param(ALL, marks=pytest.mark.soak)])
def test_a_source_without_raw_sockets(most: int) -> None:
    """What crosses is found, by connecting; nothing is called closed by an agent that cannot prove it."""
    assert sweep(scene(8, most), blind=["dev-1"], way="connect") == 0.0  # neither from it nor to it
