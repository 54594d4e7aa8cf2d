"""Plans as a lease: said again and again while something may be probed, and to nobody while nothing may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from nacl.signing import SigningKey

from coordinator.messaging.lease import LEASE_S, OVER, PERIOD_S, Plans, leased
from coordinator.messaging.sender import Sender
from coordinator.store import Store
from tests.support.desk import arm, go
from tests.support.rounds import World
from tests.support.virtual import now, run
from wire.messages import Ack, Close, Down, Plan, Resolve, Stop
from wire.mqtt import Link
from wire.signing import AnyDown, open_down

KEY = SigningKey(b"\1" * 32)


class Scene:
    """What goes down to three agents, and when; `slow`: whose the broker does not say it has for so long."""

    def __init__(self, store: Store) -> None:
        self.world = World(store)
        self.stopped = ""
        self.sent: list[tuple[float, str, Down]] = []
        self.slow: dict[str, float] = {}
        self.plans = Plans(self.world.estate, self._post, lambda: self.stopped)

    async def _post(self, agent: str, body: Down) -> None:
        self.sent.append((now(), agent, body))
        await asyncio.sleep(self.slow.get(agent, 0.0))

    def play(self, *happens: tuple[float, Callable[[], None]], until: float) -> None:
        async def scene() -> None:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.plans.run(), name="plans")
                for at, do in happens:
                    await asyncio.sleep(at - now())
                    do()
                await asyncio.sleep(until - now())
                running.cancel()

        run(scene())

    def leases(self, agent: str) -> list[tuple[int, float]]:
        """At which seconds it was given which."""
        return [(round(at), m.lease_s) for at, name, m in self.sent if name == agent and isinstance(m, Plan)]

    def stop(self) -> None:
        self.stopped = "maintenance"

    def go_on(self) -> None:
        self.stopped = ""


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def test_each_period_everybody_who_is_there_hears_that_it_goes_on(scene: Scene) -> None:
    scene.world.online("test-1", online=False)
    scene.play(until=3.5 * PERIOD_S)
    assert [lease for _, lease in scene.leases("dev-1")] == [LEASE_S] * 3
    spans = [at for at, _ in scene.leases("dev-1")]
    assert all(abs(at - (n + 1) * PERIOD_S) <= n + 2 for n, at in enumerate(spans))
    assert scene.leases("prod-1") == scene.leases("dev-1")
    assert scene.leases("test-1") == []
    assert LEASE_S == 2 * PERIOD_S


def test_one_that_comes_gets_its_own_at_once(scene: Scene) -> None:
    scene.play((5.0, lambda: scene.plans.want("dev-1")), until=10.0)
    assert scene.leases("dev-1") == [(5, LEASE_S)]
    assert scene.leases("prod-1") == []
    (plan,) = [body for *_, body in scene.sent]
    declared = scene.world.estate.topology
    assert plan == Plan(
        digest=declared.digest, rate_pps=declared.probing.rate_pps, flows=declared.probing.flows, lease_s=LEASE_S
    )


def test_while_all_is_stopped_no_lease_is_renewed_and_when_it_goes_on_everybody_hears_it(scene: Scene) -> None:
    scene.play((10.0, scene.stop), (200.0, scene.go_on), until=205.0)
    ((at, lease_s),) = scene.leases("dev-1")
    assert 200 <= at <= 202
    assert lease_s == LEASE_S


def test_it_goes_on_at_once_also_within_a_period(scene: Scene) -> None:
    scene.play((1.0, scene.stop), (5.0, scene.go_on), until=10.0)
    assert [5 <= at <= 7 for at, _ in scene.leases("prod-1")] == [True]


def test_one_that_comes_while_all_is_stopped_is_told_that_first_and_gets_none(scene: Scene) -> None:
    scene.stop()
    scene.play((5.0, lambda: scene.plans.want("dev-1")), until=100.0)
    assert [type(body) for *_, body in scene.sent] == [Stop, Plan]
    assert scene.leases("dev-1") == [(5, OVER)]


def test_one_agents_slow_broker_ends_no_others_lease(scene: Scene) -> None:
    scene.slow = {"dev-1": 1000.0}
    scene.play((1.0, lambda: scene.plans.want("dev-1")), until=4 * PERIOD_S + 5)
    assert len(scene.leases("prod-1")) == 4
    assert len(scene.leases("dev-1")) == 1, "nor do orders for it pile up"


def test_one_that_left_the_topology_is_sent_nothing(scene: Scene) -> None:
    scene.play((1.0, lambda: scene.plans.want("gone-1")), until=10.0)
    assert scene.sent == []


@pytest.mark.parametrize("body", [Plan(digest="d"), arm(), go()], ids=["plan", "arm", "go"])
def test_whatever_lets_packets_be_sent_leaves_as_a_lease(store: Store, body: AnyDown) -> None:
    """A broker that withholds the plans from the first second on would else leave an agent without any."""
    sent: list[bytes] = []

    class Away(Link):
        def __init__(self) -> None: ...

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            sent.append(payload)

    sender = Sender(Away(), KEY, store, lambda _: "dev", lambda _: b"", time.time)
    before = sender.newest
    run(sender("dev-1", body))
    order = open_down(KEY.verify_key, sent[0], agent="dev-1")
    assert order.body == leased(body) != body
    assert order.body.lease_s == LEASE_S  # type: ignore[union-attr]
    assert before < order.sequence == sender.newest


@pytest.mark.parametrize(
    "body",
    [Stop(), Close(round="r"), Ack(spool="s", sequence=1), Resolve(id="1", names=()), Plan(digest="d", lease_s=OVER)],
)
def test_nothing_else_does(body: AnyDown) -> None:
    assert leased(body) is body
