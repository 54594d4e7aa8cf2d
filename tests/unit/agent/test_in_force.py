"""What an agent goes by: the lower of what its host's owner and the coordinator allow, also after a reload."""

import msgspec

from agent.config import AgentConfig, Window
from agent.in_force import InForce
from probes.child.protocol import Bounds, Configure
from reachability.topology import Blackout
from wire.messages import Plan

CONFIG = AgentConfig(
    name="dev-1", environment="dev", broker="mqtts://broker.example:8883", allow=("10.30.0.0/24",), rate_pps=500
)


def rates(force: InForce) -> tuple[int, int]:
    told = force.configure()
    return told.rate_pps, told.flows


def test_the_lower_of_both_counts() -> None:
    force = InForce(CONFIG, lambda: None)
    assert rates(force) == (500, 50_000)
    force.plan = Plan(digest="d", rate_pps=100, flows=9)
    assert rates(force) == (100, 9)
    force.take(msgspec.structs.replace(CONFIG, rate_pps=50, flows=5))
    assert rates(force) == (50, 5)
    force.take(msgspec.structs.replace(CONFIG, rate_pps=5000))
    assert rates(force) == (100, 9), "the plan's, which was never forgotten"


def test_the_hosts_own_bounds_hold_before_the_first_plan() -> None:
    assert rates(InForce(msgspec.structs.replace(CONFIG, flows=5), lambda: None)) == (500, 5)


def test_the_allow_list_is_the_newest() -> None:
    force = InForce(CONFIG, lambda: None)
    assert not force.allowed()[0].refuses("10.30.0.9")
    force.take(msgspec.structs.replace(CONFIG, deny=("10.30.0.9",)))
    assert "denies" in force.allowed()[0].refuses("10.30.0.9")


def test_the_child_is_told_where_the_broker_is_and_what_is_left_of_the_last_ones_flows() -> None:
    now = [100.0]
    force = InForce(CONFIG, lambda: None, lambda: now[0])
    force.hold(((30.0, 7), (5.0, 3)))
    now[0] = 110.0
    told = force.configure()
    assert told == Configure(
        agent="dev-1",
        rate_pps=500,
        held=((20.0, 7),),
        broker_host="broker.example",
        broker_port=8883,
        bounds=Bounds(allow=("10.30.0.0/24",), rate_pps=500),
    )
    connected = InForce(CONFIG, lambda: ("10.0.0.1", 1883)).configure()
    assert (connected.broker_host, connected.broker_port) == ("10.0.0.1", 1883)


def test_the_child_gets_the_hosts_own_bounds_whatever_the_plan_says() -> None:
    window = Window(cron="0 2 * * *", for_s=3600.0, timezone="Europe/Berlin")
    owners = msgspec.structs.replace(CONFIG, deny=("10.30.0.9",), blackout=(window,), flows=7)
    force = InForce(owners, lambda: None)
    force.plan = Plan(digest="d", rate_pps=10**6, flows=10**6)
    assert force.configure().bounds == Bounds(
        allow=("10.30.0.0/24",),
        deny=("10.30.0.9",),
        blackout=(Blackout("0 2 * * *", 3600.0, "Europe/Berlin"),),
        rate_pps=500,
        flows=7,
    )
