"""Which line decides each port: the index and the overlay against a reading of the rules port by port."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachability.compare import compare, key_of, result_of
from reachability.matrix import Judged, Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.policy import Policy, matches, nearest_paths
from reachability.ports import PortSet
from reachability.topology import Path, PortSpec, Probing, Selector, Topology, Waiver
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Declared, Protocol, Reachability, Require, Result, Schedule
from tests.support.sample import NOW, topology

MOST = 60  # ports; each of them is looked at by itself
BASE = topology(probing=Probing(every_s=60.0, sweep_every_s=600.0))
SERVICES = {"staging": "web", "prod": "model-registry", "dev": "notebook", "test": "runner"}
TARGETS = tuple(
    PlanTarget(
        agent=agent,
        source_environment=environment,
        source_address=source,
        destination="prod",
        address=address,
        protocol=Protocol.TCP,
        cycle=PortSet.parse("1-20"),
        sweep=PortSet.parse(f"10-{MOST}"),
        required=PortSet.parse(f"5-{MOST}"),
        witness="prod-1" if address == "10.30.0.10" else "",
    )
    for environment, agent, source in (("dev", "dev-1", "10.10.0.10"), ("staging", "staging-1", "10.20.0.10"))
    for address in ("10.30.0.10", "10.30.0.21")
)

MEMBERS = st.frozensets(st.integers(1, MOST), max_size=12)
SPECS = st.one_of(st.none(), MEMBERS.map(lambda ports: PortSpec(tcp=PortSet.of(ports))))


def ends(*environments: str) -> st.SearchStrategy[Selector]:
    named = [
        selector
        for name in environments
        for selector in (
            Selector(name, environment=name),
            Selector(f"{name}.{name}-1", environment=name, agent=f"{name}-1"),
            Selector(SERVICES[name], environment=name, service=SERVICES[name]),
        )
    ]
    networks = ("10.0.0.0/8", "10.30.0.0/24", "10.30.0.20/30", "10.10.0.10/32", "10.20.0.0/16")
    ranges = [Selector(text, environment=name, network=ip_network(text)) for text in networks for name in ("", "prod")]
    return st.sampled_from([*named, *ranges])


PATHS = st.lists(
    st.tuples(
        ends("dev", "staging"), ends("prod", "test"), SPECS, st.sampled_from([Declared.ALLOWED, Declared.REQUIRED])
    ),
    max_size=6,
)
WAIVERS = st.lists(st.tuples(ends("dev", "staging"), ends("prod", "test"), SPECS, st.integers(-1, 1)), max_size=3)
SEEN = st.lists(st.tuples(MEMBERS.filter(bool), st.sampled_from(Reachability), st.integers(0, 2000)), max_size=4)


def speaks(declared: Topology, end: Selector, target: PlanTarget, *, source: bool) -> bool:
    environment = target.source_environment if source else target.destination
    address = target.source_address if source else target.address
    if end.network is not None:
        return end.environment in {"", environment} and ip_address(address) in end.network
    if end.service:
        hosts = declared.environments[end.environment].services[end.service].hosts
        return end.environment == environment and address in hosts
    return end.environment == environment and end.agent in {"", target.agent if source else target.witness}


def names(declared: Topology, entry: Path | Waiver, target: PlanTarget, port: int) -> bool:
    if not speaks(declared, entry.source, target, source=True):
        return False
    if not speaks(declared, entry.destination, target, source=False):
        return False
    if entry.ports is not None:
        return port in entry.ports.tcp
    end = entry.destination
    return not end.service or port in declared.environments[end.environment].services[end.service].ports.tcp


def first(entries: tuple[Path, ...], declared: Topology, target: PlanTarget, port: int) -> Path | None:
    found = [path for path in entries if names(declared, path, target, port)]
    return next((path for path in found if path.expect is Declared.REQUIRED), next(iter(found), None))


@given(PATHS, WAIVERS, SEEN)
def test_each_port_is_judged_by_its_line(
    paths: list[tuple[Selector, Selector, PortSpec | None, Declared]],
    waivers: list[tuple[Selector, Selector, PortSpec | None, int]],
    rows: list[tuple[frozenset[int], Reachability, int]],
) -> None:
    declared = replace(
        BASE,
        paths=tuple(Path(f"p{number}", *path) for number, path in enumerate(paths)),
        waivers=tuple(
            Waiver(f"W-{number}", source, destination, ports, "o", "j", NOW + timedelta(seconds=expires))
            for number, (source, destination, ports, expires) in enumerate(waivers)
        ),
    )
    evidence = Evidence(protocol=Protocol.TCP)
    matrix = Matrix()
    newest: dict[int, Judged] = {}
    for number, (ports, found, age_s) in enumerate(rows):
        one = Judged(
            evidence=evidence,
            verdict=Verdict(reachability=found),
            round=f"r{number}",
            observed_at=NOW.timestamp() - age_s,
        )
        for target in TARGETS:
            matrix.update(key_of(target), PortSet.of(ports), one)
        for port in ports:
            if port not in newest or newest[port].observed_at <= one.observed_at:
                newest[port] = one
    for target in TARGETS:
        cells = compare(declared, [target], matrix, NOW)
        assert sum(cell.count for cell in cells) == MOST
        by_port = {port: cell for cell in cells for port in cell.ports}
        for port in range(1, MOST + 1):
            cell, seen = by_port[port], newest.get(port)
            path = first(declared.paths, declared, target, port)
            said = path.expect if path else Declared.DENIED
            in_force = [] if said is Declared.REQUIRED else [w for w in declared.waivers if w.expires > NOW]
            waiver = next((w for w in in_force if names(declared, w, target, port)), None)
            assert (cell.path, cell.waiver, cell.declared, cell.judged) == (path, waiver, said, seen)
            assert (cell.required, cell.schedule) == (port >= 5, Schedule.CYCLE if port <= 20 else Schedule.SWEEP)
            if seen is None:
                assert cell.result is Result.NOT_RUN
            elif NOW.timestamp() - seen.observed_at > (180 if port <= 20 else 1800):
                assert (cell.result, cell.grade) == (Result.STALE, None)
            else:
                result = result_of(said, Require.NO_SESSION, evidence, seen.verdict)
                waived = result is Result.FAIL and waiver is not None
                assert cell.result is (Result.WAIVED if waived else result)


def test_what_is_remembered_of_ends_holds_for_one_moment_and_one_topology() -> None:
    [target] = TARGETS[:1]
    everything = Selector("dev", environment="dev"), Selector("prod", environment="prod"), None
    waiver = Waiver("W-1", *everything, "o", "j", NOW + timedelta(seconds=1))
    declared = replace(BASE, waivers=(waiver,))
    assert [decision.waiver for _, decision in Policy(declared, NOW).decide(target)] == [waiver]
    assert [decision.waiver for _, decision in Policy(declared, waiver.expires).decide(target)] == [None]
    reloaded = replace(declared, paths=(Path("p", *everything),))
    assert [decision.path for _, decision in Policy(reloaded, NOW).decide(target)] == list(reloaded.paths)


EVERYTHING = Selector("0.0.0.0/0", network=ip_network("0.0.0.0/0"))
# dev-1 at 10.10.0.10 tries the model registry, where no agent is.
REGISTRY = TARGETS[1]


@pytest.mark.parametrize(
    ("end", "is_source", "is_destination"),
    [
        (Selector("dev", environment="dev"), True, False),
        (Selector("prod", environment="prod"), False, True),
        (Selector("staging", environment="staging"), False, False),
        (Selector("dev.dev-1", environment="dev", agent="dev-1"), True, False),
        (Selector("dev.dev-2", environment="dev", agent="dev-2"), False, False),
        (Selector("prod.prod-1", environment="prod", agent="prod-1"), False, False),
        (Selector("dev.notebook", environment="dev", service="notebook"), True, False),
        (Selector("prod.model-registry", environment="prod", service="model-registry"), False, True),
        (Selector("prod.feature-store", environment="prod", service="feature-store"), False, False),
        (Selector("10.10.0.0/24", network=ip_network("10.10.0.0/24")), True, False),
        (Selector("10.30.0.20/30", network=ip_network("10.30.0.20/30")), False, True),
        (replace(EVERYTHING, environment="prod"), False, True),
        (replace(EVERYTHING, environment="dev"), True, False),
        (EVERYTHING, True, True),
    ],
)
def test_an_end_speaks_of_its_own_side_alone(end: Selector, is_source: bool, is_destination: bool) -> None:
    assert matches(BASE, end, EVERYTHING, REGISTRY) is is_source
    assert matches(BASE, EVERYTHING, end, REGISTRY) is is_destination


def test_an_agent_on_the_host_is_what_an_agent_at_the_other_end_means() -> None:
    end = Selector("prod.prod-1", environment="prod", agent="prod-1")
    assert [target.address for target in TARGETS[:2] if matches(BASE, EVERYTHING, end, target)] == ["10.30.0.10"]


def test_a_network_says_nothing_of_an_agent_whose_address_is_not_known() -> None:
    """It might be in it or not: a path that it may not have would turn a leak green."""
    unknown = replace(REGISTRY, source_address="")
    assert not matches(BASE, EVERYTHING, EVERYTHING, unknown)
    assert matches(BASE, Selector("dev", environment="dev"), EVERYTHING, unknown)


def test_a_service_is_found_by_the_name_that_led_to_its_address() -> None:
    prod = BASE.environments["prod"]
    named = replace(prod.services["model-registry"], hosts=("registry.prod.internal",))
    declared = replace(BASE, environments={**BASE.environments, "prod": replace(prod, services={named.name: named})})
    end = Selector("prod.model-registry", environment="prod", service="model-registry")
    assert matches(declared, EVERYTHING, end, replace(REGISTRY, names=("registry.prod.internal",)))
    assert not matches(declared, EVERYTHING, end, replace(REGISTRY, names=("web.prod.internal",)))
    assert not matches(declared, EVERYTHING, end, REGISTRY)


def test_a_waiver_never_covers_a_required_path_that_is_down() -> None:
    """It says that a hole is borne for a while; what the business needs is not a hole."""
    everything = Selector("staging", environment="staging"), Selector("prod", environment="prod"), None
    declared = replace(BASE, waivers=(Waiver("W-1", *everything, "o", "j", NOW + timedelta(days=1)),))
    down = Judged(
        evidence=Evidence(protocol=Protocol.TCP),
        verdict=Verdict(reachability=Reachability.BLOCKED),
        round="r1",
        observed_at=NOW.timestamp(),
    )
    target = replace(TARGETS[3], services=(("model-registry", PortSet.of([5000])),), cycle=PortSet.of([5000, 5001]))
    matrix = Matrix()
    matrix.update(key_of(target), PortSet.of([5000]), down)
    leak = replace(down, verdict=Verdict(reachability=Reachability.REACHABLE))
    matrix.update(key_of(target), PortSet.of([5001]), leak)
    found = {cell.ports.first: cell for cell in compare(declared, [target], matrix, NOW)}
    assert (found[5000].declared, found[5000].result, found[5000].waiver) == (Declared.REQUIRED, Result.FAIL, None)
    assert found[5001].result is Result.WAIVED


def test_the_nearest_paths_lead_to_the_same_place_from_elsewhere() -> None:
    [promotes] = BASE.paths
    to_web = Path("p", EVERYTHING, Selector("staging.web", environment="staging", service="web"))
    declared = replace(BASE, paths=(promotes, to_web))
    assert nearest_paths(declared, REGISTRY) == (promotes,)
    assert nearest_paths(declared, TARGETS[0]) == ()


def test_of_several_names_for_one_address_each_leads_to_its_service() -> None:
    """The path that staging must have would else be taken for one that it must not have: blocked would be green."""
    prod = BASE.environments["prod"]
    hosts = {"model-registry": ("b.prod.internal",), "feature-store": ("a.prod.internal",)}
    services = {name: replace(prod.services[name], hosts=hosts[name]) for name in ("feature-store", "model-registry")}
    declared = replace(BASE, environments={**BASE.environments, "prod": replace(prod, services=services)})
    lookups = {"a.prod.internal": ("10.30.0.21",), "b.prod.internal": ("10.30.0.21",)}
    plan = build_plan(declared, {}, lookups)
    [target] = [t for t in plan if (t.agent, t.address, t.protocol) == ("staging-1", "10.30.0.21", Protocol.TCP)]
    assert target.names == ("a.prod.internal", "b.prod.internal")
    decided = {port: decision.declared for ports, decision in Policy(declared, NOW).decide(target) for port in ports}
    assert (decided[5000], decided[6379]) == (Declared.REQUIRED, Declared.DENIED)
