"""The life of an agent's certificates by a clock of the test's own: no process, no network, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from agent.renewal import ANSWER_S, SPREAD_S, Held, Renewal, RenewalError, switching
from tests.support.waiting import HANG_S
from wire.messages import Renew, Renewed

DAY = 86400.0


class EndOfTestError(Exception):
    """The clock has come to where the test ends."""


class Host:
    """An agent's host whose clock moves by sleeping alone. `answers` are what the coordinator says, in turn."""

    def __init__(self, directory: Path, until: float, *answers: Renewed | None, life: float = 90 * DAY) -> None:
        self.directory, self.until, self.life = directory, until, life
        self.now = 0.0
        self.answers = list(answers)
        self.refusals: list[str] = []
        self.asked: list[float] = []
        self.tried: list[bytes] = []
        self.switched: list[tuple[float, bytes]] = []
        self.patience: list[float] = []
        self.changes = 0
        self.problems: dict[str, list[str]] = {}
        self.trusts = "old"
        self.renewal = Renewal(
            directory,
            child=self.child,
            ask=self.ask,
            try_out=self.try_out,
            switch=self.switch,
            changed=self.change,
            log=structlog.get_logger(),
            clock=lambda: self.now,
            sleep=self.sleep,
            chance=lambda: 0.0,
        )

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.now > self.until:
            raise EndOfTestError

    async def child(self, kind: str, given: bytes) -> bytes:
        if self.problems.get(kind):
            raise RenewalError(self.problems[kind].pop(0))
        if kind == "request":
            return b"request"
        starts = self.now if kind == "take" else 0.0
        if kind == "take":
            certificate, _, trust = given.partition(b"\n")
            (self.directory / "next.pem").write_bytes(certificate)
            if trust:
                (self.directory / "next-trust.pem").write_bytes(trust)
                self.trusts = trust.decode()
        return msgspec.json.encode(
            Held(
                name="dev-1",
                environment="dev",
                generation=0,
                starts=starts,
                ends=starts + self.life,
                trust=self.trusts,
            )
        )

    def ask(self, request: Renew) -> None:
        assert request.request == b"request"
        self.asked.append(self.now / DAY)
        answer = self.answers.pop(0) if self.answers else Renewed(certificate=b"new")
        if answer is not None:
            self.renewal.answer(answer)

    async def try_out(self, path: Path) -> str:
        self.tried.append(path.read_bytes())  # noqa: ASYNC240 - nothing waits here
        return self.refusals.pop(0) if self.refusals else ""

    async def switch(self, path: Path, within_s: float) -> None:
        self.patience.append(within_s)
        self.switched.append((self.now / DAY, path.read_bytes()))  # noqa: ASYNC240 - nothing waits here

    def change(self) -> None:
        self.changes += 1

    async def live(self) -> list[Any]:
        with capture_logs() as said, pytest.raises(EndOfTestError):
            await self.renewal.run()
        return list(said)


def events(said: list[Any], name: str) -> list[Any]:
    return [entry for entry in said if entry["event"] == name]


@pytest.mark.asyncio
async def test_it_is_renewed_at_two_thirds_again_and_again(tmp_path: Path) -> None:
    host = Host(tmp_path, 200 * DAY)
    said = await host.live()
    assert [round(day) for day in host.asked] == [60, 120, 180]
    assert host.switched == [(day, b"new") for day in host.asked]
    assert (tmp_path / "renewed.pem").read_bytes() == b"new"
    assert not (tmp_path / "next.pem").exists()
    assert len(events(said, "certificate renewed")) == 3
    assert host.changes == 4, "the status says what is held, also at the start"
    assert not events(said, "the certificate ends soon")


@pytest.mark.asyncio
async def test_when_other_cas_are_trusted_it_renews_soon_at_a_moment_of_its_own_and_once(tmp_path: Path) -> None:
    host = Host(tmp_path, 50 * DAY, Renewed(certificate=b"new", trust=b"both"))
    host.renewal._chance = lambda: 0.5
    host.renewal.trust("old")
    at = 10 * DAY

    async def sleep(seconds: float) -> None:
        if host.now < at:
            await ordinary(seconds)
        elif not heard:
            heard.append(host.now)
            host.renewal.trust("both")
            await asyncio.sleep(5)  # which that ends
            raise AssertionError("it sleeps on")
        else:
            await ordinary(seconds)

    heard: list[float] = []
    ordinary, host.renewal._sleep = host.sleep, sleep
    await host.live()
    (asked,) = host.asked
    assert asked * DAY - heard[0] == pytest.approx(SPREAD_S / 2)
    assert (tmp_path / "trust.pem").read_bytes() == b"both"
    assert not (tmp_path / "next-trust.pem").exists()
    assert host.renewal.held is not None
    assert host.renewal.held.trust == "both"


@pytest.mark.asyncio
async def test_one_that_does_not_get_them_goes_on_with_those_that_it_has_and_asks_again_soon(tmp_path: Path) -> None:
    host = Host(
        tmp_path, 3600.0, Renewed(problem="it has just been given one"), Renewed(certificate=b"new", trust=b"b")
    )
    host.refusals = ["its certificate is not of a CA that is trusted"]
    host.renewal.trust("both")
    await host.live()
    assert [round(day * DAY) for day in host.asked][:3] == [0, 300, 600], "not in six hours"
    assert not (tmp_path / "next-trust.pem").exists()
    assert not (tmp_path / "trust.pem").exists()


@pytest.mark.asyncio
async def test_a_new_one_that_the_broker_refuses_is_dropped_and_the_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "renewed.pem").write_bytes(b"old")
    host = Host(tmp_path, 61 * DAY)
    host.refusals = ["it does not let this certificate in"] * 9
    said = await host.live()
    assert not host.switched
    assert (tmp_path / "renewed.pem").read_bytes() == b"old"
    assert not (tmp_path / "next.pem").exists()
    assert host.tried == [b"new"] * len(host.asked)
    assert 3 <= len(host.asked) <= 5, "tried again every six hours while there is much time"
    problem = events(said, "the certificate was not renewed")[0]["problem"]
    assert problem == "the new one is refused, the old one stays: it does not let this certificate in"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("problems", "answers", "words"),
    [
        ({}, [Renewed(problem="'dev-1' is not in it")], "the coordinator grants none: 'dev-1' is not in it"),
        ({"request": ["the disk is full"]}, [], "the disk is full"),
        ({"take": ["the certificate is for another key"]}, [], "the certificate is for another key"),
    ],
)
async def test_what_fails_is_said_and_tried_again(
    tmp_path: Path, problems: dict[str, list[str]], answers: list[Renewed | None], words: str
) -> None:
    host = Host(tmp_path, 61 * DAY, *answers)
    host.problems = problems
    said = await host.live()
    assert [entry["problem"] for entry in events(said, "the certificate was not renewed")] == [words]
    ((day, _),) = host.switched
    assert 60.2 < day < 60.3


@pytest.mark.asyncio
async def test_a_coordinator_that_says_nothing_and_one_that_answers_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.renewal.ANSWER_S", 0.001)
    assert ANSWER_S >= 60
    host = Host(tmp_path, 61 * DAY, None)
    host.renewal.answer(Renewed(certificate=b"nobody asked"))
    said = await host.live()
    assert "gave no answer" in events(said, "the certificate was not renewed")[0]["problem"]
    assert [pem for _, pem in host.switched] == [b"new"]


@pytest.mark.asyncio
async def test_it_tries_more_often_the_nearer_the_end_and_warns_once_a_day(tmp_path: Path) -> None:
    host = Host(tmp_path, 92 * DAY, *[Renewed(problem="no")] * 1000)
    said = await host.live()
    pauses = [entry["again_in_s"] for entry in events(said, "the certificate was not renewed")]
    assert pauses[0] == 6 * 3600
    ended = pauses.index(60) + pauses.count(60)
    assert pauses[:ended] == sorted(pauses[:ended], reverse=True)
    assert set(pauses[ended:]) == {6 * 3600}, "what cannot connect any more does not keep its host busy"
    warned = events(said, "the certificate ends soon")
    assert len(warned) in {13, 14, 15}
    assert "segwatch pki renew dev-1" in warned[0]["to_do"]
    assert len(events(said, "the certificate has ended")) == 2


@pytest.mark.asyncio
async def test_a_clock_that_jumps(tmp_path: Path) -> None:
    host = Host(tmp_path, 100 * DAY)
    jumps = {30: 3600.0, 40: -3600.0, 50: 5 * DAY}
    ordinary: Callable[[float], Awaitable[None]] = host.sleep

    async def sleep(seconds: float) -> None:
        await ordinary(seconds)
        for day in [day for day in jumps if host.now > day * DAY]:
            host.now += jumps.pop(day)

    host.renewal._sleep = sleep
    await host.live()
    ((day, _),) = host.switched
    assert 60 <= day < 61


@pytest.mark.asyncio
async def test_one_that_cannot_be_read_is_said_and_looked_at_again(tmp_path: Path) -> None:
    host = Host(tmp_path, 2 * 3600.0)
    host.problems = {"look": ["agent.pem cannot be read"]}
    said = await host.live()
    assert events(said, "the certificate cannot be renewed")[0]["problem"] == "agent.pem cannot be read"
    assert host.renewal.held is not None


@pytest.mark.asyncio
async def test_a_life_that_is_over_when_it_comes_does_not_make_it_run_hot(tmp_path: Path) -> None:
    host = Host(tmp_path, 30.0, life=0.0)
    with capture_logs(), pytest.raises(EndOfTestError):
        await asyncio.wait_for(host.renewal.run(), HANG_S)
    assert 20 <= len(host.asked) <= 31


@pytest.mark.asyncio
async def test_a_round_is_waited_for_but_not_until_the_old_one_ends(tmp_path: Path) -> None:
    long, short = Host(tmp_path, 61 * DAY), Host(tmp_path, 500, life=540)
    await long.live()
    await short.live()
    assert long.patience == [600.0]
    assert short.patience == [45.0], "a quarter of the three minutes that it still has"


class Connection:
    """Of a link: whether it is up, and what it was told to use."""

    def __init__(self, *, connected: bool) -> None:
        self.connected = connected
        self.used: list[Path] = []

    def use(self, certificate: Path, _key: Path, _ca: Path) -> None:
        self.used.append(certificate)


@pytest.mark.asyncio
@pytest.mark.parametrize(("connected", "within_s"), [(True, 0.001), (False, 3600.0)])
async def test_a_switch_waits_for_rounds_in_vain_or_for_no_connection(
    *, connected: bool, within_s: float, tmp_path: Path
) -> None:
    link = Connection(connected=connected)
    async with asyncio.timeout(HANG_S):
        await switching(link, lambda: True, lambda: tmp_path / "ca.pem")(tmp_path / "new.pem", within_s)  # type: ignore[arg-type]
    assert link.used == [tmp_path / "new.pem"]
