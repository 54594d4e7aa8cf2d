"""Every host that is declared or reported is probed once, by every agent of every other environment."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from coordinator.topology.load import parse_topology
from reachability import catalogue
from reachability.plan import PlanTarget, build_plan, cycle_ports, owned_addresses
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.topology import DeclaredAgent, PortSpec, Probing, Topology
from reachability.vocabulary import Protocol, Schedule
from tests.support.sample import topology

REGISTRY, FEATURES = "10.30.0.21", "10.30.0.10"
NAME, ALIAS = "registry.prod.internal", "models.prod.internal"


def prod_with(*hosts: str, name: str = "model-registry", **changes: Any) -> Topology:
    """The sample with these hosts for a service of prod."""
    declared = topology(probing=Probing(sweep_ports=PortSpec(tcp=ALL_PORTS, udp=ALL_PORTS)))
    prod = declared.environments["prod"]
    service = replace(prod.services[name], hosts=hosts, **changes)
    prod = replace(prod, services={**prod.services, name: service})
    return replace(declared, environments={**declared.environments, "prod": prod})


def from_dev(
    declared: Topology, lookups: dict[str, tuple[str, ...]] | None = None, protocol: Protocol = Protocol.TCP
) -> dict[str, PlanTarget]:
    """What dev-1 tries in prod with one protocol, by address."""
    plan = build_plan(declared, {}, lookups or {})
    found = [t for t in plan if (t.agent, t.destination, t.protocol) == ("dev-1", "prod", protocol)]
    assert len({target.address for target in found}) == len(found), "an address is in one target"
    return {target.address: target for target in found}


def dual(declared: Topology) -> Topology:
    """dev-1 with two addresses of one family and one of the other."""
    agents = {"dev-1": DeclaredAgent("dev-1", ("10.10.0.10", "10.10.0.11", "fd00:10::10"))}
    dev = replace(declared.environments["dev"], agents=agents)
    return replace(declared, environments={**declared.environments, "dev": dev})


def test_no_agent_probes_its_own_environment_and_each_probes_all_others() -> None:
    pairs = {(target.source_environment, target.destination) for target in build_plan(topology(), {}, {})}
    names = ("dev", "test", "staging", "prod")
    assert pairs == {(source, other) for source in names for other in names if source != other}


def test_a_name_is_probed_at_every_address_that_it_led_to_by_every_agent() -> None:
    found = from_dev(prod_with(NAME), {NAME: (REGISTRY, "10.30.0.22")})
    assert set(found) == {FEATURES, REGISTRY, "10.30.0.22"}
    assert [found[address].names for address in (REGISTRY, "10.30.0.22")] == [(NAME,), (NAME,)]
    assert [name for name, _ in found["10.30.0.22"].services] == ["model-registry"]
    agents = {t.agent for t in build_plan(prod_with(NAME), {}, {NAME: ("10.30.0.22",)}) if t.address == "10.30.0.22"}
    assert agents == {"dev-1", "test-1", "staging-1"}


def test_an_address_outside_the_networks_has_its_cells_but_is_never_probed() -> None:
    """What DNS says may be somebody else's host, or a mistake: it is missing from no report for that."""
    found = from_dev(prod_with(NAME), {NAME: (REGISTRY, "192.0.2.7")})
    assert [(address, target.elsewhere) for address, target in found.items() if target.names] == [
        (REGISTRY, False),
        ("192.0.2.7", True),
    ]
    target = found["192.0.2.7"]
    assert (target.required, str(target.service_ports)) == (target.ports, "5000")
    assert [target.ports_in(schedule) for schedule in Schedule] == [PortSet()] * len(Schedule)


@pytest.mark.parametrize("hosts", [(NAME, "192.0.2.7"), ("192.0.2.7", NAME)])
def test_an_address_that_is_declared_as_it_stands_is_probed_whatever_leads_to_it(hosts: tuple[str, ...]) -> None:
    assert not from_dev(prod_with(*hosts), {NAME: ("192.0.2.7",)})["192.0.2.7"].elsewhere


@pytest.mark.parametrize("own", ["127.0.1.1", "::1", "fe80::1", "169.254.0.7", "0.0.0.0", "224.0.0.1"])
def test_what_a_name_is_to_its_own_host_alone_is_nobodys_cell(own: str) -> None:
    """Debian writes 127.0.1.1 for its own name into /etc/hosts: an agent on the service's host says so."""
    assert set(from_dev(prod_with(NAME), {NAME: (own, REGISTRY)})) == {FEATURES, REGISTRY}
    assert set(from_dev(prod_with(NAME), {NAME: (own,)})) == {FEATURES, NAME}, "then it is not resolved"


def test_a_network_of_such_addresses_may_be_declared() -> None:
    declared = prod_with(NAME)
    prod = replace(declared.environments["prod"], networks=(ip_network("127.0.0.0/8"),))
    declared = replace(declared, environments={**declared.environments, "prod": prod})
    assert "127.0.1.1" in from_dev(declared, {NAME: ("127.0.1.1",)})


def test_a_name_that_does_not_resolve_is_not_elsewhere() -> None:
    assert not from_dev(prod_with(NAME))[NAME].elsewhere


@pytest.mark.parametrize("lookups", [{}, {NAME: ()}, {ALIAS: (REGISTRY,)}])
def test_a_name_that_led_nowhere_keeps_its_cells(lookups: dict[str, tuple[str, ...]]) -> None:
    """Left out, nobody would miss them: the estate would look whole and proven."""
    found = from_dev(prod_with(NAME), lookups)
    assert set(found) == {FEATURES, NAME}
    assert (found[NAME].source_address, found[NAME].required) == ("", found[NAME].ports)


def test_two_names_of_one_host_are_one_target_with_both() -> None:
    """Named twice or given as its address too, the service is there once, and the port is counted once."""
    found = from_dev(prod_with(NAME, ALIAS, REGISTRY), {NAME: (REGISTRY,), ALIAS: (REGISTRY, REGISTRY)})
    assert set(found) == {FEATURES, REGISTRY}
    target = found[REGISTRY]
    assert (target.name, target.names) == (NAME, (NAME, ALIAS))
    assert [(name, str(ports)) for name, ports in target.services] == [("model-registry", "5000")]


def test_two_services_of_one_host_are_one_target_with_both() -> None:
    found = from_dev(prod_with(FEATURES))
    assert set(found) == {FEATURES}
    assert {name for name, _ in found[FEATURES].services} == {"model-registry", "feature-store"}
    assert (str(found[FEATURES].service_ports), found[FEATURES].witness) == ("5000,6379", "prod-1")


def test_a_cycle_tries_the_ports_of_every_service_on_every_host() -> None:
    spec = cycle_ports(topology())
    assert {443, 5000, 6379, 8265, 8888} <= set(spec.tcp)
    assert set(catalogue.ports().tcp) <= set(spec.tcp)
    assert {target.cycle for target in from_dev(topology()).values()} == {spec.tcp}
    assert {target.ports for target in from_dev(topology(), protocol=Protocol.ICMP).values()} == {ICMP_CELL}


def test_a_service_that_asks_to_be_spared_spares_its_whole_host_and_no_other() -> None:
    found = from_dev(prod_with(REGISTRY, sweep=False))
    assert {address: bool(target.sweep) for address, target in found.items()} == {REGISTRY: False, FEATURES: True}
    shared = from_dev(prod_with(FEATURES, sweep=False))
    assert not shared[FEATURES].sweep
    assert shared[FEATURES].cycle, "a cycle tries it all the same"


def test_of_udp_only_what_can_be_proven_must_be() -> None:
    """Where no agent is on the host, silence of a UDP port is proof of nothing, but for a service that should answer."""
    spec = PortSpec(udp=PortSet.of([53]))
    found = from_dev(prod_with(REGISTRY, ports=spec), protocol=Protocol.UDP)
    assert str(found[REGISTRY].required) == "53"
    assert found[FEATURES].required == found[FEATURES].ports, "an agent on the host sees what arrives"


def test_an_agent_controls_from_inside_what_is_not_on_its_own_host() -> None:
    found = from_dev(topology())
    assert (found[REGISTRY].insides, found[REGISTRY].inside) == (("prod-1",), "prod-1")
    assert (found[FEATURES].insides, found[FEATURES].inside) == ((), "")
    other_family = build_plan(dual(prod_with("fd00:30::21")), {}, {})
    assert {target.inside for target in other_family if target.address == "fd00:30::21"} == {""}, "it cannot ask there"
    assert from_dev(prod_with(NAME))[NAME].inside == "prod-1", "the name may lead to an address of its family"


def test_an_agent_sends_from_its_addresses_of_the_targets_family() -> None:
    plan = build_plan(dual(prod_with("fd00:30::21")), {}, {})
    mine = [t for t in plan if (t.agent, t.destination, t.protocol) == ("dev-1", "prod", Protocol.TCP)]
    assert sorted((target.address, target.source_address) for target in mine) == [
        (FEATURES, "10.10.0.10"),
        (FEATURES, "10.10.0.11"),
        ("fd00:30::21", "fd00:10::10"),
    ]


def test_what_an_agent_reported_counts_where_nothing_is_declared_and_only_in_its_networks() -> None:
    dev = topology().environments["dev"]
    reported = {"dev-1": ("10.10.0.77", "172.17.0.1", "10.30.0.99")}
    assert owned_addresses(dev, "dev-1", reported) == ("10.10.0.10",)
    silent = replace(dev, agents={"dev-1": DeclaredAgent("dev-1")})
    assert owned_addresses(silent, "dev-1", reported) == ("10.10.0.77",)
    assert owned_addresses(silent, "dev-1", {}) == ()


def test_every_port_is_in_one_schedule() -> None:
    target = PlanTarget(
        agent="dev-1",
        source_environment="dev",
        source_address="10.10.0.10",
        destination="prod",
        address="10.30.0.10",
        protocol=Protocol.TCP,
        cycle=PortSet.parse("1-20"),
        sweep=PortSet.parse("10-60"),
    )
    assert {schedule: str(target.ports_in(schedule)) for schedule in Schedule} == {
        "cycle": "1-20",
        "sweep": "21-60",
        "trace": "",
        "try": "",
    }


def test_what_a_host_is_probed_for_is_worked_out_once_for_all_agents() -> None:
    agents = "".join(f"      d{number}: {{addresses: [10.10.0.{number}]}}\n" for number in range(1, 9))
    text = (
        f"version: 1\nenvironments:\n  dev:\n    networks: [10.10.0.0/24]\n    agents:\n{agents}"
        "  prod:\n    networks: [10.30.0.0/24]\n    services: {db: {hosts: [10.30.0.21], ports: [tcp/5432, udp/53]}}\n"
    )
    plan = build_plan(parse_topology(text.encode()), {}, {})
    assert len(plan) == 8 * 3
    assert len({id(target.required) for target in plan}) == 3
    assert len({id(target.services) for target in plan if target.services}) == 2
