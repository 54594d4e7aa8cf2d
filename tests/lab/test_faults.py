"""Faults on a real estate: no green without proof, the touched cells say why, and the others are proven all the same."""

from __future__ import annotations

import pytest

from lab.system import CORE_HOST, PORT, System
from tests.lab.services import serve
from tests.lab.small import (
    AGENTS,
    DEV,
    PROD,
    PROD2,
    PROD6,
    REG,
    REG6,
    SERVICES,
    STAGE_B,
    WITNESSED,
    assert_honest,
    assert_others_proven,
    running,
    topology,
    under_way,
    verify,
)
from tests.lab.truth import CellId

pytestmark = pytest.mark.lab

TO_APP = f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 8000 accept"
TO_REGISTRY = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"


def at(agent: str, address: str, protocol: str, *ports: int) -> set[CellId]:
    """Cells of an agent at an address."""
    source = AGENTS[agent][1 if ":" in address else 0]
    return {(agent, source, address, protocol, port) for port in ports or (0,)}


def test_sealed_and_whole() -> None:
    with running() as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        assert outcome.code == 0
        assert outcome.body["coverage"] == 1.0


def test_nothing_listens_at_the_target() -> None:
    text = topology(services="      metrics: {hosts: [10.30.0.21], ports: [udp/8125]}")
    services = {**SERVICES, "reg": ()}
    echo = f"ip saddr 10.10.0.0/24 ip daddr {REG} icmp type echo-request accept"  # shows how far away the host is
    with running([TO_REGISTRY, echo], text=text, services=services) as system:
        outcome = verify(system)
        silent = {c for agent in ("dev-1", "stage-1") for c in at(agent, REG, "udp", 8125)}
        opened = at("dev-1", REG, "tcp", 5000) | at("dev-1", REG, "icmp")
        assert_honest(outcome, silent.__contains__, opened=opened.__contains__, extra_udp=[8125])
        for agent in ("dev-1", "stage-1"):
            result, reachability, _, row, reason = outcome.says(agent, REG, "udp", 8125)
            assert (result, reachability, row) == ("inconclusive", "unknown", 18)
            assert reason in {"closed-inside", "silent-inside"}
        # A RST crossed the boundary: it is open to whatever listens there tomorrow.
        assert outcome.says("dev-1", REG, "tcp", 5000)[:4] == ("fail", "reachable", "inferred", 8)
        assert outcome.code == 1


def test_its_name_does_not_resolve() -> None:
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5432]}")
    with running(text=text) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        named = [entry for cell, entry in outcome.cells.items() if cell[2] == "db.prod.internal"]
        assert named
        assert {(e["result"], e["reason"]) for e in named if e["required"]} == {("inconclusive", "resolve-failed")}
        assert outcome.code == 3


def test_a_name_that_resolves_is_probed_where_it_leads() -> None:
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5000]}")
    with running([TO_REGISTRY], text=text, names={"db.prod.internal": REG}) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG, "tcp", 5000).__contains__)
        assert outcome.says("dev-1", REG, "tcp", 5000)[0] == "fail"


def test_the_targets_agent_is_dead() -> None:
    with running([TO_APP]) as system:
        system.kill("prod-1")
        outcome = verify(system)
        opened = at("dev-1", PROD, "tcp", 8000)

        def touched(cell: CellId) -> bool:
            return cell[0] == "prod-1" or (cell[2] in {PROD, PROD6} and cell[3] == "udp" and cell[4] != 9000)

        assert_honest(outcome, touched, opened=opened.__contains__)
        assert {e["result"] for c, e in outcome.cells.items() if c[0] == "prod-1"} == {"not-run"}
        # The service answers inside and the firewall drops: that is shown without the witness, and no packet is not claimed.
        assert outcome.says("dev-1", PROD, "tcp", 22)[1:3] == ("no-session", "controlled")
        assert outcome.says("dev-1", PROD, "tcp", 8000)[0] == "fail"
        assert [a["state"] for a in outcome.body["agents"] if a["name"] == "prod-1"] == ["lost"]
        assert outcome.code == 1


def test_the_sources_agent_is_dead() -> None:
    with running() as system:
        system.kill("dev-1")
        outcome = verify(system)
        # The only agent of dev is also its only witness, and nobody controls its host from inside.
        assert_honest(outcome, lambda cell: cell[0] == "dev-1" or cell[2] in AGENTS["dev-1"])
        assert {e["result"] for c, e in outcome.cells.items() if c[0] == "dev-1"} == {"not-run"}
        assert outcome.code == 3


def test_the_sources_own_output_filter_drops() -> None:
    with running() as system:
        system.estate.nft(
            "dev-1",
            "table inet own { chain out { type filter hook output priority 0; tcp dport { 22, 80, 443 } drop\n}\n}\n",
        )
        outcome = verify(system)

        def touched(cell: CellId) -> bool:
            return cell[0] == "dev-1" and cell[3] == "tcp" and cell[4] in {22, 80, 443}

        assert_honest(outcome, touched)
        assert {e["reason"] for c, e in outcome.cells.items() if touched(c)} == {"local-filter"}
        assert outcome.code == 3


def test_the_service_resets_tls() -> None:
    rule = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 8443 accept"
    services = {**SERVICES, "reg": (("tcp", 5000), ("reset", 8443))}
    with running([rule], services=services) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG, "tcp", 8443).__contains__)
        entry = outcome.cell("dev-1", REG, "tcp", 8443)
        assert (entry["result"], entry["state"], entry["reachability"]) == ("fail", "open", "reachable")


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


def test_udp_is_let_through_to_a_service_that_never_answers() -> None:
    text = topology(services="      metrics: {hosts: [10.30.0.10, 10.30.0.21], ports: [udp/8125]}")
    rules = [f"ip saddr 10.10.0.0/24 ip daddr {address} udp dport 8125 accept" for address in (PROD, REG)]
    services = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("sink", 8125)), "reg": (("tcp", 5000), ("sink", 8125))}
    with running(rules, text=text, services=services) as system:
        outcome = verify(system)
        opened = at("dev-1", PROD, "udp", 8125) | at("dev-1", REG, "udp", 8125)
        # Without a witness nobody can tell silence from a firewall, whichever way the firewall is.
        touched = {c for agent in ("dev-1", "stage-1") for c in at(agent, REG, "udp", 8125)}
        assert_honest(outcome, touched.__contains__, opened=opened.__contains__, extra_udp=[8125])
        assert outcome.says("dev-1", PROD, "udp", 8125)[:4] == ("fail", "one-way", "witnessed", 14)
        assert outcome.says("dev-1", REG, "udp", 8125)[0] == "inconclusive"


def test_only_ipv6_is_open() -> None:
    with running([f"ip6 saddr fd00:10::/64 ip6 daddr {REG6} tcp dport 5000 accept"]) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG6, "tcp", 5000).__contains__)
        assert outcome.says("dev-1", REG6, "tcp", 5000)[0] == "fail"
        assert outcome.says("dev-1", REG, "tcp", 5000)[0] == "pass"


def test_the_way_back_is_dropped() -> None:
    with running([TO_APP]) as system:
        system.estate.nft(
            "router",
            f"table inet back {{ chain f {{ type filter hook forward priority -5; ip saddr {PROD} tcp sport 8000 drop\n}}\n}}\n",
        )
        outcome = verify(system)
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


def test_the_source_is_behind_nat() -> None:
    with running([TO_APP]) as system:
        system.estate.nft(
            "router",
            "table ip nat { chain post { type nat hook postrouting priority 100; ip saddr 10.10.0.0/24 masquerade\n}\n}\n",
        )
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        assert outcome.says("dev-1", PROD, "tcp", 8000)[:4] == ("fail", "reachable", "replied", 1)


@pytest.mark.parametrize("both", [False, True], ids=["sequence", "sequence-and-timestamp"])
def test_a_firewall_rewrites_sequence_numbers(both: bool) -> None:
    with running([TO_APP]) as system:
        stamp = "tcp option timestamp tsval set 4711 " if both else ""
        system.estate.nft(
            "router",
            "table inet mangle { chain f { type filter hook forward priority -5; "
            f"ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp flags syn / syn,ack,rst tcp sequence set 12345 {stamp}\n}}\n}}\n",
        )
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        result, reachability, _, _, _ = outcome.says("dev-1", PROD, "tcp", 8000)
        assert (result, reachability in {"reachable", "one-way"}) == ("fail", True)


def test_what_a_middlebox_changes_shows() -> None:
    with running([TO_APP]) as system:
        system.estate.nft(
            "router",
            "table inet mangle { chain f { type filter hook forward priority -5; ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 "
            "tcp flags syn / syn,ack,rst tcp sequence set 12345 tcp option maxseg size set 1380 ip dscp set af11\n}\n}\n",
        )
        verify(system)
        body = system.ask("explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/8000")
        evidence = body["evidence"]
        assert (evidence["arrival"], evidence["altered"], evidence["mss"], evidence["dscp"]) == (
            "seen",
            "sequence",
            1380,
            10,
        )
        assert evidence["came_hops"] == 1
        said = " ".join(
            system.cli(
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


HOST_FIREWALL = """table inet own { chain in { type filter hook input priority 0;
  ip saddr 10.30.0.0/24 accept
  %s
}
}"""


@pytest.mark.parametrize(
    ("does", "row", "result"),
    [
        ("drop", 13, ("pass", "blocked-at-host", "witnessed")),
        ("reject with icmpx type admin-prohibited", 9, ("pass", "blocked-at-host", "witnessed")),
        ("reject with tcp reset", 5, ("fail", "reachable", "replied")),
    ],
    ids=["drop", "icmp", "reset"],
)
def test_the_targets_host_firewall_stops_it(does: str, row: int, result: tuple[str, str, str]) -> None:
    rules = [TO_APP, f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 22 accept"]
    with running(rules) as system:
        system.estate.nft("prod-1", HOST_FIREWALL % f"ip saddr 10.10.0.0/24 tcp dport {{ 22, 8000 }} {does}")
        outcome = verify(system)
        cells = at("dev-1", PROD, "tcp", 22, 8000)
        passes = result[0] == "pass"
        assert_honest(outcome, lambda _: False, opened=(lambda _: False) if passes else cells.__contains__)
        assert outcome.says("dev-1", PROD, "tcp", 8000)[:4] == (*result, row)
        assert outcome.says("dev-1", PROD, "tcp", 22)[:4] == (*result, 11 if row == 13 else row)


def test_the_targets_host_firewall_drops_udp() -> None:
    rules = [f"ip saddr 10.10.0.0/24 ip daddr {PROD} udp dport {{ 53, 123, 9000 }} accept"]
    with running(rules) as system:
        system.estate.nft("prod-1", HOST_FIREWALL % "ip saddr 10.10.0.0/24 udp dport { 53, 9000 } drop")
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "udp", 123).__contains__)
        assert outcome.says("dev-1", PROD, "udp", 53)[:4] == ("pass", "blocked-at-host", "witnessed", 12)
        assert outcome.says("dev-1", PROD, "udp", 9000)[:4] == ("pass", "blocked-at-host", "witnessed", 13)
        assert outcome.says("dev-1", PROD, "udp", 123)[0] == "fail"


def test_the_targets_host_firewall_refuses_udp() -> None:
    """A host sends a peer few ICMP errors: most copies are met by silence, some refusals go to the kernel's own try."""
    with running([f"ip saddr 10.10.0.0/24 ip daddr {PROD} meta l4proto udp accept"]) as system:
        refuses = "ip saddr 10.10.0.0/24 meta l4proto udp reject with icmpx type admin-prohibited"
        system.estate.nft("prod-1", HOST_FIREWALL % refuses)
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        cells = [c for key, c in outcome.cells.items() if key[0] == "dev-1" and key[2:4] == (PROD, "udp")]
        assert {cell["reachability"] for cell in cells} == {"blocked-at-host"}


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


def test_the_capture_has_no_permission() -> None:
    with running([TO_APP], drop_caps={"prod-1": ("net_raw",), "dev-1": ("net_raw",)}) as system:
        outcome = verify(system)
        opened = at("dev-1", PROD, "tcp", 8000)

        def touched(cell: CellId) -> bool:
            blind_source = cell[0] in {"dev-1", "prod-1"}
            blind_witness = cell[2] in {*AGENTS["prod-1"], *AGENTS["dev-1"]} and (
                (cell[3] == "udp" and cell[4] != 9000) or cell[2] in AGENTS["dev-1"]
            )
            return blind_source or blind_witness

        green = [
            (c, e["row"], e["reason"])
            for c, e in outcome.cells.items()
            if e["result"] == "pass" and c[0] in {"dev-1", "prod-1"} and c[2] not in WITNESSED
        ]
        assert not green
        assert outcome.cell("dev-1", PROD, "tcp", 8000)["result"] != "pass"
        assert outcome.says("dev-1", REG, "tcp", 22)[4] in {"no-permission", "refused-by-someone"}
        assert outcome.says("stage-1", PROD, "udp", 53)[0] == "inconclusive"
        del touched, opened
        lacks = {a["name"]: a["lacks"] for a in outcome.body["agents"]}
        assert "CAP_NET_RAW" in lacks["dev-1"]
        assert lacks["stage-1"] is None
        assert outcome.says("stage-1", PROD2, "tcp", 22)[:2] == ("pass", "blocked")


def listens(system: System) -> bool:
    """Whether anything does at the broker's port."""
    return f":{PORT} " in system.estate.run(CORE_HOST, ["ss", "-Hltn"]).check().stdout


def test_the_coordinator_restarts_in_the_middle() -> None:
    with running([TO_APP]) as system:
        with under_way(system) as asked:
            system.kill("coordinator")
            system.wait_for(lambda: not listens(system), "the broker's end")
            system.start_coordinator()
            outcome = asked.result()
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "tcp", 8000).__contains__)
        assert outcome.code == 1


@pytest.mark.parametrize("victim", ["prod-1", "dev-1"])
def test_an_agent_dies_in_the_middle(victim: str) -> None:
    with running([TO_APP]) as system:
        with under_way(system) as asked:
            system.kill(victim)
            outcome = asked.result()

        def touched(cell: CellId) -> bool:
            controlled = victim == "prod-1" and cell[2] in {REG, REG6}  # from inside, by the one that died
            return cell[0] == victim or cell[2] in AGENTS[victim] or controlled

        opened = at("dev-1", PROD, "tcp", 8000)
        assert outcome.cells[next(iter(opened))]["result"] != "pass"
        assert not [c for c, e in outcome.cells.items() if e["result"] == "fail" and c not in opened]
        assert_others_proven(outcome, lambda cell: touched(cell) or cell in opened)
        # What the dead one alone could show is not green.
        alone = [e for c, e in outcome.cells.items() if c[0] == victim and e["result"] == "pass"]
        assert all(e["observed_at"] and e["proof"] != "none" for e in alone)
        assert outcome.code in {1, 3}


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
