import asyncio
import socket
import threading
from dataclasses import replace

import pytest

from agent import names
from agent.names import AddressInfo, resolve
from reachability.observation import Lookup
from tests.support.waiting import HANG_S
from wire.messages import Resolve


def look_up(name: str) -> AddressInfo:
    answers = {
        "both": ["10.0.0.1", "fd00::1", "10.0.0.1"],
        "scoped": ["fe80::1%eth0"],
    }
    if name == "broken":
        raise UnicodeError("label too long")
    if name not in answers:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(None, None, 0, "", (address, 0)) for address in answers[name]]


@pytest.mark.asyncio
async def test_every_name_has_its_answer() -> None:
    answer = await resolve(Resolve(id="7", names=("both", "none", "scoped", "broken")), look_up)
    assert answer.id == "7"
    assert answer.lookups == (
        Lookup(name="both", addresses=("10.0.0.1", "fd00::1")),
        Lookup(name="none", problem="Name or service not known"),
        Lookup(name="scoped", addresses=("fe80::1",)),
        Lookup(name="broken", problem="label too long"),
    )


@pytest.mark.asyncio
async def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release, limits, ordinary = threading.Event(), [0.05, HANG_S], asyncio.timeout

    def limit(seconds: float) -> asyncio.Timeout:
        assert seconds == names.NAME_S
        return ordinary(limits.pop(0))  # in the order of the names: only the first is to run into it

    def hang(name: str) -> AddressInfo:
        if name == "slow":
            release.wait(2 * HANG_S)
        return look_up("both")

    async with asyncio.timeout(HANG_S):
        monkeypatch.setattr(asyncio, "timeout", limit)
        answer = await resolve(Resolve(id="1", names=("slow", "quick")), hang)
    release.set()
    assert [bool(lookup.problem) for lookup in answer.lookups] == [True, False]
    assert "no answer within" in answer.lookups[0].problem


@pytest.mark.asyncio
async def test_a_flood_of_names_is_cut() -> None:
    answer = await resolve(Resolve(id="1", names=("both",) * 300), look_up)
    assert len(answer.lookups) == 300
    assert answer.lookups[-1].problem == "too many names in one request"


@pytest.mark.asyncio
async def test_where_a_name_comes_from_is_said_and_costs_no_answer() -> None:
    def explained(found: Lookup) -> Lookup:
        if found.name == "scoped":
            raise AssertionError("what a server made of it")
        return replace(found, origin="dns")

    answer = await resolve(Resolve(id="1", names=("both", "scoped")), look_up, explained)
    assert answer.lookups == (
        Lookup(name="both", addresses=("10.0.0.1", "fd00::1"), origin="dns"),
        Lookup(name="scoped", addresses=("fe80::1",)),
    )
