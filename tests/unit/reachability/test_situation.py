"""What would settle a cell, from all that is known: a table of situation and text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.topology.load import parse_topology
from reachability.compare import Cell
from reachability.matrix import CellKey
from reachability.situation import AgentFacts, Situation
from reachability.verdict import Verdict
from reachability.vocabulary import Protocol, Reachability, Result, Schedule
from tests.support.finding_cells import cell

TEXT = """version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents:
      dev-1: {addresses: [10.10.0.10]}
      dev-2: {}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {}}}
"""
TOPOLOGY = parse_topology(TEXT.encode(), "topology.yaml")
KEY = CellKey(
    agent="dev-1",
    source_address="10.10.0.10",
    destination="prod",
    address="10.30.0.21",
    protocol=Protocol.TCP,
)
HAS = AgentFacts(reported=("10.10.0.10", "127.0.0.1"))
MOVED = AgentFacts(reported=("127.0.0.1", "172.17.0.1", "10.10.0.44", "fe80::1"))
ASTRAY = AgentFacts(reported=("10.99.0.7", "127.0.0.1"))
NIGHT = "a blackout is open: '0 2 * * 0' for 2:00:00, UTC"


def asked(
    result: str,
    reason: str = "",
    *,
    agent: str = "dev-1",
    protocol: Protocol = Protocol.TCP,
    schedule: str = "cycle",
    required: bool = True,
) -> Cell:
    address = "10.10.0.10" if agent == "dev-1" else ""
    key = replace(KEY, agent=agent, source_address=address, protocol=protocol)
    made = replace(cell("22", Result(result)), key=key, schedule=Schedule(schedule), required=required)
    if not reason:
        return replace(made, judged=None)
    assert made.judged is not None
    verdict = Verdict(reachability=Reachability.UNKNOWN, reason=reason)
    return replace(made, judged=replace(made.judged, verdict=verdict))


def known(facts: AgentFacts = HAS, *, agent: str = "dev-1", in_run: bool = False, blackout: str = "") -> Situation:
    return Situation(topology=TOPOLOGY, agents={agent: facts}, in_run=in_run, blackout=blackout)


CHECK = "`segwatch agent --check`"
TABLE: list[tuple[str, Situation, Cell, str, str]] = [
    ("declared address gone", known(MOVED), asked("inconclusive", "local-error"),
     "10.10.0.10 is declared for dev-1, and its host does not have it: it has 172.17.0.1, 10.10.0.44",
     "give the host that address, or correct topology.yaml:6: addresses: [10.10.0.44]"),
    ("and it is in no network", known(ASTRAY), asked("not-run"),
     "10.10.0.10 is declared for dev-1, and its host does not have it: it has 10.99.0.7",
     "give the host that address, or correct topology.yaml:6: addresses: [10.99.0.7]"),
    ("reported address in no network", known(ASTRAY, agent="dev-2"), asked("not-run", agent="dev-2"),
     "the host of dev-2 has 10.99.0.7, which is in no network of 'dev' (10.10.0.0/24)",
     "add the network of 10.99.0.7 at topology.yaml:3, or declare dev-2 in the environment that has it"),
    ("no address reported", known(AgentFacts(), agent="dev-2"), asked("not-run", agent="dev-2"),
     "agent dev-2 has reported no address that others can reach",
     f"declare its addresses at topology.yaml:7; {CHECK} on its host shows what it has"),
    ("never connected", known(AgentFacts(state="missing")), asked("not-run"), "agent dev-1 has never connected",
     f"start it: `segwatch agent --bundle dev-1.tar`; {CHECK} on its host says what it lacks"),
    ("lost", known(AgentFacts(state="lost")), asked("stale", "loss"), "agent dev-1 is not connected",
     f"see on its host whether it runs; {CHECK} there says what it lacks"),
    ("revoked", known(AgentFacts(state="revoked")), asked("not-run"), "every certificate of agent dev-1 is revoked",
     "issue a new bundle with `segwatch pki agent dev-1`, and install it on its host"),
    ("a blackout", known(blackout=NIGHT), asked("not-run"), f"no round has tried it, and {NIGHT}",
     "wait until it is over, or `segwatch verify --in-blackout --reason TEXT`, which is recorded"),
    ("not run, in a verify", known(in_run=True), asked("not-run"), "the run ended before a round had tried it",
     "the coordinator's log says why; --from and --to make a run shorter"),
    ("not run, of a sweep", known(), asked("not-run", schedule="sweep"), "no sweep has tried it",
     "`segwatch verify --sweep`, or wait for the scheduled one"),
    ("not run, otherwise", known(), asked("not-run"), "no round has tried it", "wait for the next cycle, or `segwatch verify`"),
    ("no source control over ICMP", known(), asked("inconclusive", "no-source-control", protocol=Protocol.ICMP),
     "not one ICMP packet of this agent was shown to leave its environment",
     (
         "let the agents of dev through to the coordinator with echo requests, or declare what else the firewall lets them "
         "reach over ICMP on a host with an agent"
     )),
    ("the agent's allow-list", known(), asked("inconclusive", "not-allowed"), "the own allow-list of dev-1 does not hold 10.30.0.21",
     "add 10.30.0.21 to `allow` in the configuration of dev-1, or issue it a new bundle"),
    ("no packet socket", known(AgentFacts(lacks="it lacks CAP_NET_RAW")), asked("inconclusive", "no-permission"),
     "dev-1 may not open a packet socket: it lacks CAP_NET_RAW",
     f"grant dev-1 CAP_NET_RAW (AmbientCapabilities= in its unit); {CHECK} there shows it"),
    ("no packet socket, and not why", known(), asked("inconclusive", "no-permission"), "dev-1 may not open a packet socket",
     f"grant dev-1 CAP_NET_RAW (AmbientCapabilities= in its unit); {CHECK} there shows it"),
    ("a local error", known(), asked("inconclusive", "local-error"), "the probe failed on the agent's host",
     f"{CHECK} on the host of dev-1 says what works there"),
    ("silent inside", known(), asked("inconclusive", "silent-inside"), "the port is silent from inside its environment too: this proves nothing",
     "install an agent on 10.30.0.21, or narrow probing.sweep"),
    ("nobody inside", known(), asked("inconclusive", "no-inside-control"), "no agent on the host saw the packet or its absence, and none inside asked the endpoint",
     "a second agent in prod, or one on the host itself"),
    ("beyond proof", known(MOVED), asked("inconclusive", "local-error", required=False), "beyond proof: needs an agent on this host", "an agent on this host"),
    ("an agent that nothing is known of", Situation(topology=TOPOLOGY), asked("not-run"), "no round has tried it",
     "wait for the next cycle, or `segwatch verify`"),
    ("an agent that is no longer declared", known(ASTRAY, agent="dev-9"), asked("not-run", agent="dev-9"), "no round has tried it",
     "wait for the next cycle, or `segwatch verify`"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("situation", "about", "means", "settle"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_situation_has_its_text(situation: Situation, about: Cell, means: str, settle: str) -> None:
    advice = situation.settled(about)
    assert advice is not None
    assert (advice.means, advice.settle) == (means, settle)


@pytest.mark.parametrize("result", ["not-run", "stale"])
@pytest.mark.parametrize("state", ["connected", "missing", "lost", "revoked"])
def test_a_verify_does_not_advise_to_run_a_verify(state: str, result: str) -> None:
    advice = known(replace(HAS, state=state), in_run=True).settled(asked(result))
    assert advice is not None
    assert "segwatch verify" not in advice.settle


def test_what_is_proven_has_no_advice() -> None:
    assert known().settled(asked("pass", "reset")) is None


def test_of_many_addresses_some_are_shown() -> None:
    many = AgentFacts(reported=tuple(f"10.99.0.{n}" for n in range(1, 9)))
    advice = known(many).settled(asked("not-run"))
    assert advice is not None
    assert advice.means.endswith("it has 10.99.0.1, 10.99.0.2, 10.99.0.3, 10.99.0.4, …")
