"""Faults of what is between: no green without proof, the touched cells say why, and the others are proven all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.system import System
from tests.lab.services import serve
from tests.lab.small import (
    DEV,
    PROD,
    REG,
    REG6,
    STAGE_B,
    TO_APP,
    TO_REGISTRY,
    assert_honest,
    assert_others_proven,
    at,
    changed,
    running,
    topology,
    verify,
)
from tests.lab.truth import CellId

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def app() -> Iterator[System]:
    """What is open is the application's port alone; each test has the router do something else to what crosses."""
    with running([TO_APP]) as system:
        yield system


def test_sealed_and_whole() -> None:
    with running() as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        assert outcome.code == 0
        assert outcome.body["coverage"] == 1.0


def test_a_middlebox_accepts_every_connection() -> None:
    with running() as system:
        serve(system.estate, "router", [("tcp", 7777)])
        system.estate.nft(
            "router",
            "table ip box { chain pre { type nat hook prerouting priority -100; "
            "ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 meta l4proto tcp redirect to :7777\n}\n}\n",
        )
        outcome = verify(system)

        def touched(cell: CellId) -> bool:
            return cell[1] == DEV and cell[2].startswith("10.30.") and cell[3] == "tcp"

        assert_honest(outcome, touched)
        assert not [c for c, e in outcome.cells.items() if touched(c) and e["result"] == "fail"]
        assert outcome.says("dev-1", PROD, "tcp", 22)[1:] == ("unknown", "none", 4, "answered-elsewhere")
        assert outcome.says("dev-1", REG, "tcp", 22)[1:] == ("unknown", "none", 3, "answers-for-all")
        assert outcome.code == 3


def test_only_ipv6_is_open() -> None:
    with running([f"ip6 saddr fd00:10::/64 ip6 daddr {REG6} tcp dport 5000 accept"]) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG6, "tcp", 5000).__contains__)
        assert outcome.says("dev-1", REG6, "tcp", 5000)[0] == "fail"
        assert outcome.says("dev-1", REG, "tcp", 5000)[0] == "pass"


BACK = (
    f"table inet back {{ chain f {{ type filter hook forward priority -5; ip saddr {PROD} tcp sport 8000 drop\n}}\n}}\n"
)


def test_the_way_back_is_dropped(app: System) -> None:
    with changed(app, "router", BACK):
        outcome = verify(app)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        assert outcome.says("dev-1", PROD, "tcp", 8000)[:4] == ("fail", "one-way", "witnessed", 10)


LOSS = """table inet loss { chain f { type filter hook forward priority -5;
  tcp sport 8883 tcp flags & syn == 0 accept
  tcp dport 8883 tcp flags & syn == 0 accept
  jhash @th,0,32 mod 100 seed 0x5eed < 40 drop\n}\n}\n"""  # of each copy: they differ in source port


@pytest.mark.long
def test_two_of_five_packets_are_lost() -> None:
    with running([TO_APP, TO_REGISTRY]) as system:
        system.estate.nft("router", LOSS)
        outcome = verify(system)
        opened = at("dev-1", PROD, "tcp", 8000) | at("dev-1", REG, "tcp", 5000)
        wrong = [(c, e["row"]) for c, e in outcome.cells.items() if (e["result"] == "pass") and c in opened]
        false = [
            (c, e["row"], e["reason"]) for c, e in outcome.cells.items() if e["result"] == "fail" and c not in opened
        ]
        assert not wrong
        assert not false
        assert outcome.says("dev-1", PROD, "tcp", 8000)[0] == "fail"  # a witness sees one copy of so many
        reasons = {e["reason"] for e in outcome.cells.values() if e["result"] == "inconclusive" and e["required"]}
        assert reasons <= {
            "loss",
            "undecided",  # a challenge that nothing came of, where loss may have taken it
            "controls-stopped",
            "no-source-control",
            "silent-inside",
            "no-inside-control",
            "who-closed-it",
            "closed-inside",
        }


NAT = "table ip nat { chain post { type nat hook postrouting priority 100; ip saddr 10.10.0.0/24 masquerade\n}\n}\n"


def test_the_source_is_behind_nat(app: System) -> None:
    with changed(app, "router", NAT):
        outcome = verify(app)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        assert outcome.says("dev-1", PROD, "tcp", 8000)[:4] == ("fail", "reachable", "replied", 1)


@pytest.mark.parametrize("both", [False, True], ids=["sequence", "sequence-and-timestamp"])
def test_a_firewall_rewrites_sequence_numbers(app: System, both: bool) -> None:
    stamp = "tcp option timestamp tsval set 4711 " if both else ""
    rewrites = (
        "table inet mangle { chain f { type filter hook forward priority -5; "
        f"ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst tcp sequence set 12345 {stamp}\n}}\n}}\n"
    )
    with changed(app, "router", rewrites):
        outcome = verify(app)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        result, reachability, _, _, _ = outcome.says("dev-1", PROD, "tcp", 8000)
        assert (result, reachability in {"reachable", "one-way"}) == ("fail", True)


CHANGES = (
    "table inet mangle { chain f { type filter hook forward priority -5; ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 "
    "tcp flags syn / syn,ack,rst tcp sequence set 12345 tcp option maxseg size set 1380 ip dscp set af11\n}\n}\n"
)


def test_what_a_middlebox_changes_shows(app: System) -> None:
    with changed(app, "router", CHANGES):
        verify(app)
        body = app.ask("explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/8000")
        evidence = body["evidence"]
        assert (evidence["arrival"], evidence["altered"], evidence["mss"], evidence["dscp"]) == (
            "seen",
            "sequence",
            1380,
            10,
        )
        assert evidence["came_hops"] == 1
        said = " ".join(
            app.cli(
                "explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/8000", "--state-dir", "state"
            ).stdout.split()
        )
    assert (
        "the sequence number was rewritten on the way; the MSS arrived as 1380, sent as 1460; the DSCP arrived as 10"
        in said
    )


def test_a_load_balancer_answers_for_its_address() -> None:
    with running([f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"]) as system:
        system.estate.nft(
            "router",
            "table ip lb { chain pre { type nat hook prerouting priority -100; "
            f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 8000 dnat to {REG}:5000\n}}\n}}\n",
        )
        outcome = verify(system)
        touched = at("dev-1", PROD, "tcp", 8000)
        assert_honest(outcome, touched.__contains__, opened=at("dev-1", REG, "tcp", 5000).__contains__)
        assert outcome.says("dev-1", PROD, "tcp", 8000)[1:] == ("unknown", "none", 4, "answered-elsewhere")


def test_busy_foreign_traffic_goes_to_the_probed_port() -> None:
    rules = [
        f"ip saddr {STAGE_B} ip daddr {PROD} tcp dport 443 accept",
        f"ip saddr {STAGE_B} ip daddr {PROD} udp dport 53 accept",
    ]
    with running(rules) as system:
        noise = serve(system.estate, "stage-b", [("noise-tcp", 443), ("noise-udp", 53)], against=PROD)
        outcome = verify(system)
        noise.terminate()
        assert_honest(outcome, lambda _: False)
        assert outcome.says("dev-1", PROD, "tcp", 443)[:2] == ("pass", "blocked")


BAN = """table ip ban {
  set banned { type ipv4_addr; flags timeout; timeout 10m; }
  chain f { type filter hook forward priority -5;
    ip saddr @banned ip daddr 10.30.0.0/24 drop
    ip saddr 10.10.0.10 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst limit rate over 5/second burst 150 packets \
      add @banned { ip saddr } drop
  }
}"""
DECLARED = """paths:
  - name: dev-pulls-models
    from: dev
    to: prod.registry
    expect: allowed
    owner: ml
    justification: shows a ban between these two"""


def test_the_scanner_is_banned_half_way() -> None:
    rules = [TO_APP, TO_REGISTRY]
    with running(rules, text=topology(paths=DECLARED)) as system:
        system.estate.nft("router", BAN)
        outcome = verify(system)

        def touched(cell: CellId) -> bool:
            return cell[1] == DEV and cell[2].startswith("10.30.")

        # What was settled before the ban may stand; nothing that stands may be wrong.
        cells = {c: e for c, e in outcome.cells.items() if touched(c)}
        assert outcome.cell("dev-1", PROD, "tcp", 8000)["result"] in {"fail", "inconclusive"}
        assert not [c for c, e in cells.items() if e["result"] == "fail" and c not in at("dev-1", PROD, "tcp", 8000)]
        unproven = [e["reason"] for e in cells.values() if e["result"] == "inconclusive"]
        assert len(unproven) > len(cells) / 2
        assert_others_proven(outcome, touched)


FULL = """table ip full {
  set talks { type ipv4_addr; flags dynamic; }
  chain f { type filter hook forward priority -5;
    ip saddr 10.10.0.10 ct state new add @talks { ip saddr ct count over 12 } drop
  }
}"""


def test_the_routers_connection_table_is_full() -> None:
    with running([TO_APP, TO_REGISTRY]) as system:
        system.estate.nft("router", FULL)
        outcome = verify(system)

        def touched(cell: CellId) -> bool:
            return cell[1] == DEV

        opened = at("dev-1", PROD, "tcp", 8000) | at("dev-1", REG, "tcp", 5000)
        assert not [c for c in opened if outcome.cells[c]["result"] == "pass"]
        assert not [c for c, e in outcome.cells.items() if e["result"] == "fail" and c not in opened]
        assert_others_proven(outcome, touched)
        mine = [e for c, e in outcome.cells.items() if touched(c) and e["required"] and c not in opened]
        assert sum(e["result"] == "inconclusive" for e in mine) > len(mine) / 2
