"""What an inside control asks first, and again when its round is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from probes.child.inside import MOST_OPEN, Insides
from probes.source.job import Job
from reachability.inside import SAMPLE
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, Role, RoundKind, State
from wire.messages import Arm


def target(protocol: Protocol = Protocol.TCP, ports: str = "1-1000", number: int = 1) -> Target:
    whole = PortSet.parse(ports) if ports else PortSet()
    return Target(
        id=number,
        environment="prod",
        address=f"10.30.0.2{number}",
        protocol=protocol,
        ports=whole,
        first=PortSet.parse("22"),
    )


def seen(one: Target, state: State, ports: str = "") -> Observation:
    return Observation(
        target=one.id, source_address="10.30.0.11", address=one.address, protocol=one.protocol, state=state,
        reason=Reason.RESET, ports=PortSet.parse(ports) if ports else one.ports,
    )  # fmt: skip


class World:
    """A child whose jobs see what `sees` says; what it asked and said."""

    def __init__(self, sees: Callable[[Job], tuple[Observation, ...]]) -> None:
        self.sees = sees
        self.jobs: list[Job] = []
        self.said: list[SourceReport] = []
        self.insides = Insides("prod-2", self._run, self.said.append)
        self.holds: asyncio.Event | None = None

    async def _run(self, job: Job) -> SourceReport:
        self.jobs.append(job)
        if self.holds is not None:
            await self.holds.wait()
        return SourceReport(round=job.round, agent="prod-2", role=job.role, observations=self.sees(job))

    def again(self) -> list[tuple[int, str]]:
        """Targets and ports of the second asking."""
        return [(one.id, str(one.ports)) for one in self.jobs[1].targets]


def arm(*targets: Target) -> Arm:
    return Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="dev-1", inside=targets)


def play(world: World, *targets: Target, again: bool = True) -> World:
    async def scene() -> None:
        await world.insides.ask(arm(*targets))
        await world.insides.close("r", again=again)

    asyncio.run(scene())
    return world


def test_what_was_open_and_some_of_what_was_closed_are_asked_again() -> None:
    tcp, quiet = target(), target(number=2)
    seeing = (seen(tcp, State.OPEN, "22,80"), seen(tcp, State.CLOSED, "100-900"), seen(quiet, State.FILTERED))
    world = play(World(lambda _: seeing), tcp, quiet)
    first, second = world.jobs
    assert first.targets == (tcp, quiet)
    assert [one.id for one in second.targets] == [1], "who was silent is not asked again"
    drawn = second.targets[0].ports
    assert not PortSet.parse("22,80") - drawn
    assert len(drawn & PortSet.parse("100-900")) == SAMPLE
    assert (second.targets[0].first, second.key) == (PortSet.parse("22"), first.key)
    assert [(report.role, report.again) for report in world.said] == [(Role.INSIDE, False), (Role.INSIDE, True)]


def test_few_closed_ports_are_all_asked_again() -> None:
    tcp = target(ports="1-10")
    assert play(World(lambda _: (seen(tcp, State.CLOSED),)), tcp).again() == [(1, "1-10")]


def test_a_closed_udp_port_controls_nothing_and_is_not_asked_again() -> None:
    udp = target(Protocol.UDP, "53,123")
    seeing = (seen(udp, State.OPEN, "53"), seen(udp, State.CLOSED, "123"))
    assert play(World(lambda _: seeing), udp).again() == [(1, "53")]


def test_an_echo_is_asked_again() -> None:
    icmp = target(Protocol.ICMP, "")
    world = play(World(lambda _: (seen(icmp, State.OPEN),)), icmp)
    assert [one.protocol for one in world.jobs[1].targets] == [Protocol.ICMP]


def test_of_a_proxy_that_answers_for_every_port_some_are_asked_again() -> None:
    tcp = target(ports="1-65535")
    assert len(play(World(lambda _: (seen(tcp, State.OPEN),)), tcp).jobs[1].targets[0].ports) == MOST_OPEN


def test_nothing_is_asked_again_where_the_source_was_not_heard_to_be_done() -> None:
    tcp = target()
    world = play(World(lambda _: (seen(tcp, State.OPEN),)), tcp, again=False)
    assert (len(world.jobs), len(world.said)) == (1, 1)


def test_that_nothing_answered_is_said() -> None:
    world = play(World(lambda job: tuple(seen(one, State.FILTERED) for one in job.targets)), target())
    assert [(report.again, report.observations) for report in world.said[1:]] == [(True, ())]
    assert len(world.jobs) == 1


def test_a_first_asking_that_goes_on_for_longer_than_the_source_shows_nothing_of_before() -> None:
    tcp = target()
    world = World(lambda _: (seen(tcp, State.OPEN),))

    async def scene() -> None:
        world.holds = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(world.insides.ask(arm(tcp)))
            await asyncio.sleep(0)
            await world.insides.close("r", again=True)
            world.holds.set()

    asyncio.run(scene())
    assert len(world.jobs) == 1
    assert [report.again for report in world.said] == [True, False]
    assert world.said[0].problems


def test_a_round_without_an_inside_control_ends_without_a_word() -> None:
    world = World(lambda _: ())
    asyncio.run(world.insides.close("r", again=True))
    assert not world.said
