"""What nothing shows to get out of an environment: by what is declared, and by what came out."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.topology.load import parse_topology
from reachability.compare import compare
from reachability.matrix import CellKey, Judged, Matrix
from reachability.plan import build_plan
from reachability.ports import ICMP_CELL, PortSet
from reachability.sides import Sides
from reachability.uncontrolled import Uncontrolled, by_declaration, by_outcome
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Proof, Protocol, Reachability, Schedule, Unproven

TEXT = """version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}}
    services:
      dns: {hosts: [10.30.0.21], ports: [udp/53]}
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT = 1_767_225_600.0


def by_declared(paths: str = "") -> dict[str, tuple[Protocol, ...]]:
    topology = parse_topology((TEXT + paths).encode())
    return {one.environment: one.protocols for one in by_declaration(Sides(topology))}


def path(to: str, source: str = "dev") -> str:
    return f"paths:\n  - {{name: p, from: {source}, to: {to}, owner: me, justification: needed}}\n"


def test_a_path_to_a_service_or_to_a_host_with_a_witness_shows_what_goes_over_it() -> None:
    both = (Protocol.UDP, Protocol.ICMP)
    assert by_declared() == {"dev": both, "prod": both}
    assert by_declared(path("prod.dns")) == {"dev": (Protocol.ICMP,), "prod": both}
    assert by_declared(path("prod")) == {"prod": both}
    assert by_declared(path("prod.prod-1")) == {"prod": both}
    waived = "waivers:\n  - {id: w, from: dev, to: prod, owner: me, justification: r, expires: 2027-01-01T00:00:00Z}\n"
    assert by_declared(waived) == {"dev": both, "prod": both}, "what is waived is not let through"


def test_a_protocol_of_which_nothing_must_be_proven_is_not_named() -> None:
    """UDP at hosts without an agent, of which no service is declared, is beyond proof."""
    text = TEXT.replace("    agents: {prod-1: {addresses: [10.30.0.10]}}\n", "").replace("udp/53", "tcp/53")
    topology = parse_topology(text.encode())
    found = by_declaration(Sides(topology))
    assert [(one.environment, one.protocols) for one in found] == [("dev", (Protocol.ICMP,))]


def test_what_it_is_worth_and_what_would_show_it() -> None:
    topology = parse_topology(TEXT.encode())
    plan = build_plan(topology, {}, {})
    dev, prod = by_declaration(Sides(topology))
    total = sum(len(target.required) for target in plan)
    mine = sum(len(t.required) for t in plan if t.agent == "dev-1" and t.protocol is not Protocol.TCP)
    assert (dev.cells, dev.required, dev.share) == (mine, total, mine / total)
    assert prod.environment == "prod"
    assert "UDP at the number of the broker's port and echo requests" in dev.settle
    assert Uncontrolled("dev", (Protocol.TCP,), 0, 0).share == 0
    assert "TCP at the broker's port," in Uncontrolled("dev", (Protocol.TCP,), 1, 1).settle


def judged(reason: str, reachability: Reachability = Reachability.UNKNOWN) -> Judged:
    proof = Proof.NONE if reachability is Reachability.UNKNOWN else Proof.WITNESSED
    verdict = Verdict(reachability=reachability, proof=proof, reason=reason)
    return Judged(
        verdict=verdict,
        evidence=Evidence(protocol=Protocol.UDP),
        round="R1",
        observed_at=AT,
        schedule=Schedule.CYCLE,
        run="",
    )


def test_by_outcome_only_cells_that_must_be_proven_and_lack_a_source_control() -> None:
    topology = parse_topology(TEXT.encode())
    plan = build_plan(topology, {}, {})
    matrix = Matrix()

    def put(address: str, protocol: Protocol, ports: PortSet, what: Judged) -> None:
        key = CellKey(
            agent="dev-1", source_address="10.10.0.10", destination="prod", address=address, protocol=protocol
        )
        matrix.update(key, ports, what)

    lacking = judged(Unproven.NO_SOURCE_CONTROL)
    put("10.30.0.10", Protocol.UDP, PortSet.of([53, 123]), lacking)
    put("10.30.0.10", Protocol.ICMP, ICMP_CELL, lacking)
    put("10.30.0.10", Protocol.TCP, PortSet.of([22]), judged(Unproven.LOSS))
    put("10.30.0.10", Protocol.TCP, PortSet.of([25]), judged("", Reachability.BLOCKED))
    put("10.30.0.21", Protocol.UDP, PortSet.of([123]), lacking)
    cells = [cell for cell in compare(topology, plan, matrix, now=NOW) if cell.key.agent == "dev-1"]
    (dev,) = by_outcome(cells)
    assert (dev.environment, dev.protocols, dev.cells) == ("dev", (Protocol.UDP, Protocol.ICMP), 3), (
        "udp/123 is beyond proof"
    )
    assert dev.required == sum(cell.count for cell in cells if cell.required)
    assert by_outcome(cell for cell in cells if cell.result.value == "pass") == ()
