"""What a sweep keeps to: the allow-list, the rate, the bound on entries in connection tables; and nmap as a second judge."""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import replace

import pytest

from lab.estate import Estate
from lab.system import HANGS_S
from tests.lab.columns import ALL, spans
from tests.lab.pair import AGENTS, DEV, NETWORKS, OTHER, PROD, deployed, scene
from tests.lab.services import serve
from tests.lab.truth import Rule

pytestmark = pytest.mark.lab

FLOWS = 5000
TABLE = "/proc/net/nf_conntrack"  # reading it throws out what has timed out, which the counter still counts
SILENT = "table inet own {{ chain in {{ type filter hook input priority 0; ip saddr {} meta l4proto {{ tcp, udp }} drop\n}}\n}}\n"
TALKS = """table inet talks { set pairs { type ipv4_addr . ipv4_addr; flags dynamic; size 65535; }
  chain pre { type filter hook prerouting priority -300; update @pairs { ip saddr . ip daddr }
}
}"""


@pytest.mark.soak
def test_connection_tables_are_not_filled() -> None:
    """The router lets everything through and the target says nothing: each packet leaves an entry."""
    drawn = scene(1, most=4000, rate_pps=20_000, flows=FLOWS)
    rule = Rule(NETWORKS["dev"], PROD, "tcp", 1, 65535, "accept")
    with Estate(replace(drawn.plan, rules=(rule.nft(), rule.nft().replace("tcp", "udp")))) as estate:
        estate.nft("prod-1", SILENT.format(DEV))
        system = deployed(estate, drawn)
        counts: list[int] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                counts.append(int(estate.run("router", ["wc", "-l", TABLE]).stdout.split()[0]))

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.monotonic()
        code, body = system.verify("--sweep", "--cells", "--from", "dev", "--to", "prod")
        took = time.monotonic() - began
        over.set()
        watching.join()
    print(f"at most {max(counts)} entries, {took:.0f} s")
    assert FLOWS / 2 < max(counts) < FLOWS * 1.2, "24,000 packets were sent; some entries are others'"
    assert body["summary"]["not_run"] == 0
    swept = [e for e in body["cells"] if e["protocol"] == "tcp" and e["address"] == PROD]
    assert {e["reachability"] for e in swept} == {"blocked-at-host"}
    assert code in {0, 3}


@pytest.mark.soak
def test_the_rate_holds() -> None:
    """What the router sees of one pass is never above the rate by more than 5%; how near it comes is the machine's."""
    rate = 10_000
    drawn = scene(2, rate_pps=rate)
    with Estate(replace(drawn.plan, rules=())) as estate:
        system = deployed(estate, drawn)
        rules = f"table inet seen {{ chain f {{ type filter hook prerouting priority -5; ip saddr {DEV} ip daddr {PROD} counter\n}}\n}}\n"
        estate.nft("router", rules)
        seen: list[tuple[float, int]] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                said = estate.run("router", ["nft", "list", "table", "inet", "seen"]).stdout
                found = re.search(r"packets (\d+)", said)
                assert found
                seen.append((time.monotonic(), int(found[1])))

        watching = threading.Thread(target=watch)
        watching.start()
        system.verify("--sweep", "--from", "dev", "--to", "prod")
        over.set()
        watching.join()
    # The longest stretch at a steady pace: five seconds of the first pass.
    rates = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier in seen
        for later in seen
        if 4.8 < later[0] - earlier[0] < 5.2  # noqa: PLR2004
    ]
    print(f"{max(rates):.0f} packets a second at most")
    assert seen[-1][1] >= 2 * ALL, "every port of both protocols went by"
    assert max(rates) < 1.05 * rate


def test_nothing_outside_the_allow_list_is_touched() -> None:
    """The topology grows by a network that the agents' bundles do not allow: the router notes every packet."""
    drawn = scene(3, most=3000, rate_pps=20_000)
    with Estate(drawn.plan) as estate:
        system = deployed(estate, drawn)
        more = f"  other:\n    networks: [{NETWORKS['other']}]\n    services: {{box: {{hosts: [{OTHER}], ports: [tcp/22]}}}}\nprobing:"
        system.declare(drawn.topology.replace("probing:", more))
        system.wait_for(lambda: "other" in (system.api("matrix") or {}).get("environments", ()), "the new topology")
        estate.nft("router", TALKS)
        _, body = system.verify("--sweep", "--cells")
        said = estate.run("router", ["nft", "list", "set", "inet", "talks", "pairs"]).check().stdout
    pairs = re.findall(r"([\d.]+) \. ([\d.]+)", said)
    reached = {there for source, there in pairs if source in {DEV, PROD}}
    assert {DEV, PROD} <= reached
    assert reached <= {DEV, PROD, "10.0.0.10", "10.10.0.1", "10.30.0.1"}
    there = [e for e in body["cells"] if e["address"] == OTHER]
    assert {(e["result"], e["reason"]) for e in there} == {("inconclusive", "not-allowed")}


def nmap(estate: Estate, host: str, address: str, ports: str, *how: str) -> set[int]:
    """The TCP ports that it finds open."""
    command = ["nmap", "-n", "-Pn", "-sS", *how, "-oG", "-", f"-p{ports}", address]
    said = estate.run(host, command, timeout_s=HANGS_S).check().stdout
    return {int(port) for port in re.findall(r"(\d+)/open/tcp", said)}


def same_as_nmap(seed: int) -> str:
    """Both judges over the same random estate: the open TCP ports have to be the same."""
    most, rng = 2500, random.Random(seed)
    drawn = scene(seed, most, 20_000, actions=("accept", "accept", "accept", "drop", "reset", "icmp"))
    listening = {host: sorted(rng.sample(range(1, most + 1), 150)) for host in AGENTS}
    agreed = 0
    with Estate(drawn.plan) as estate:
        for host, ports in listening.items():
            serve(estate, host, [("tcp", port) for port in ports])
        system = deployed(estate, drawn)
        _, body = system.verify("--sweep", "--cells")
        for agent, address in (("dev-1", PROD), ("prod-1", DEV)):
            theirs = nmap(estate, agent, address, f"1-{most}", "--min-rate", "500", "--max-retries", "4")
            mine = {
                port
                for e in body["cells"]
                if (e["agent"], e["address"], e["protocol"], e["state"]) == (agent, address, "tcp", "open")
                for low, high in spans(e["ports"])
                for port in range(low, high + 1)
                if port <= most
            }
            if missed := mine - theirs:  # at that rate a busy machine lets it miss some: it may look again, slowly
                theirs |= nmap(estate, agent, address, ",".join(map(str, sorted(missed))), "--max-retries", "10")
            only = f"only segwatch {mine - theirs}, only nmap {theirs - mine}"
            assert mine == theirs, f"seed {seed}, {agent} to {address}: {only}"
            agreed += len(mine)
    return f"seed {seed}: {agreed} open ports, the same"


def test_nmap_finds_the_same_ports_open() -> None:
    print(same_as_nmap(1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 21))
def test_nmap_finds_the_same_ports_open_on_many_estates(seed: int) -> None:
    print(same_as_nmap(seed))
