from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Schedule


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
