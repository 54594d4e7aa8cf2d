"""What agents' answers make doubtful about the names of a topology."""

from __future__ import annotations

from coordinator.topology.lint import Warned
from coordinator.topology.lint_names import lint_names
from coordinator.topology.load import parse_topology
from reachability.observation import Lookup

TOPOLOGY = parse_topology(b"""\
version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}
    services:
      db: {hosts: [db.prod.internal], ports: [tcp/5432]}
""")
AT = "10.30.0.21"


def doubts(**seen: str | None) -> list[Warned]:
    """`dev_1=AT` resolves it there, `None` finds nothing; of an agent that is not named nothing is known."""
    answers = {
        agent.replace("_", "-"): Lookup(name="db.prod.internal", addresses=(at,) if at else ())
        for agent, at in seen.items()
    }
    return lint_names(TOPOLOGY, {"db.prod.internal": answers})


def test_a_name_that_one_environment_alone_resolves() -> None:
    [doubt] = doubts(dev_1=None, test_1=None, prod_1=AT, prod_2=AT)
    assert (doubt.line, doubt.column) == (9, 7)
    assert doubt.message == (
        "host 'db.prod.internal' of 'db' resolves in 'prod' alone (for prod-1, prod-2), and not in 'dev', 'test': where it is "
        "tested is the word of 'prod'; declare its addresses, or have the others resolve it too"
    )


def test_of_what_two_see_or_none_sees_or_one_was_asked_there_is_no_doubt() -> None:
    assert doubts(dev_1=AT, test_1=None, prod_1=AT) == []
    assert doubts(dev_1=None, prod_1=None) == []
    assert doubts(prod_1=AT, prod_2=AT) == []
    assert doubts() == []
    assert lint_names(TOPOLOGY, {}) == []


def test_an_agent_that_is_not_in_the_file_counts_for_nothing() -> None:
    assert doubts(prod_1=AT, gone_1=None) == []


def test_what_a_wildcard_answers() -> None:
    wild = Lookup(name="db.prod.internal", addresses=(AT,), wildcard="*.prod.internal")
    [doubt] = lint_names(TOPOLOGY, {"db.prod.internal": {"dev-1": wild, "test-1": wild}})
    assert doubt.message == (
        "host 'db.prod.internal' of 'db' is answered by the wildcard *.prod.internal (for dev-1, test-1): a misspelt name "
        "leads there too; see that it is the host you mean"
    )
