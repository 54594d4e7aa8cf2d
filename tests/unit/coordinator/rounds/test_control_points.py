"""Where agents' controls are told to go, by what the coordinator listens on and advertises."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coordinator.broker.addresses import Listen, Whereabouts
from coordinator.rounds.control_points import ControlPoints
from reachability.vocabulary import Protocol

LISTEN = Listen("127.0.0.1", 0)  # the kernel's choice: nobody's port is taken
NAT, NAME = Listen("203.0.113.5", 18883), Listen("segwatch.example.net", 8883)


def nobody(name: str) -> list[str]:
    raise AssertionError(f"{name} was looked up")


def opened(
    listen: Listen,
    advertised: Sequence[Listen],
    broker: str,
    pki: Path,
    lookup: Callable[[str], list[str]] = nobody,
) -> set[tuple[str, Protocol, int]]:
    async def run() -> set[tuple[str, Protocol, int]]:
        points = ControlPoints(listen, advertised, broker, lookup)
        await points.open(pki)
        points.close()
        return {(control.address, control.protocol, control.port) for control in points.controls.targets()}

    return asyncio.run(run())


def test_where_it_listens_agents_are_answered(tmp_path: Path) -> None:
    assert opened(LISTEN, (), "", tmp_path) == {
        ("127.0.0.1", Protocol.TCP, 0), ("127.0.0.1", Protocol.ICMP, 0), ("127.0.0.1", Protocol.UDP, 0),
    }  # fmt: skip
    assert Whereabouts.of(tmp_path) == Whereabouts("mqtts://127.0.0.1:0", ("127.0.0.1",))


def test_what_is_advertised_takes_the_place_of_where_it_listens(tmp_path: Path) -> None:
    assert opened(LISTEN, (NAT, NAME), "", tmp_path) == {
        ("203.0.113.5", Protocol.TCP, 18883), ("203.0.113.5", Protocol.UDP, 18883),
    }, "whoever hands the ports on may answer an ICMP echo itself"  # fmt: skip
    assert Whereabouts.of(tmp_path) == Whereabouts(
        "mqtts://203.0.113.5:18883,segwatch.example.net:8883", ("203.0.113.5", "segwatch.example.net")
    )


def test_of_a_family_that_is_not_advertised_its_own_addresses_stay(tmp_path: Path) -> None:
    asked = opened(LISTEN, (Listen("2001:db8::5", 18883),), "", tmp_path)
    assert {address for address, _, _ in asked} == {"2001:db8::5", "127.0.0.1"}
    assert Whereabouts.of(tmp_path) == Whereabouts("mqtts://[2001:db8::5]:18883", ("2001:db8::5", "127.0.0.1"))


def test_a_name_may_be_of_either_family(tmp_path: Path) -> None:
    assert {address for address, _, _ in opened(LISTEN, (NAME,), "", tmp_path)} == {"127.0.0.1"}
    assert Whereabouts.of(tmp_path).hosts == ("segwatch.example.net", "127.0.0.1")


def test_a_broker_of_the_operators_is_where_bundles_lead(tmp_path: Path) -> None:
    opened(LISTEN, (), "mqtts://broker.example.net:8883", tmp_path)
    assert Whereabouts.of(tmp_path) == Whereabouts("mqtts://broker.example.net:8883", ("127.0.0.1",))


def test_keys_that_cannot_be_written_to_hold_nothing_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opened(LISTEN, (), "", tmp_path / "missing")
    assert "new bundles have to be told --broker" in capsys.readouterr().out


def test_where_the_broker_is_another_host_controls_go_to_what_an_advertised_name_leads_to(tmp_path: Path) -> None:
    asked = opened(LISTEN, (NAME,), "mqtts://broker.example.net", tmp_path, lambda _: ["203.0.113.7", "203.0.113.7"])
    assert asked == {("203.0.113.7", Protocol.TCP, 8883), ("203.0.113.7", Protocol.UDP, 8883)}
    assert Whereabouts.of(tmp_path).hosts == ("segwatch.example.net", "127.0.0.1")


@pytest.mark.parametrize(
    "error", [OSError(-2, "Name or service not known"), UnicodeError("label too long"), TimeoutError()]
)
def test_an_advertised_name_that_leads_nowhere_is_said_and_leaves_its_own_addresses(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: str) -> list[str]:
        raise error

    asked = opened(LISTEN, (NAME, NAT), "mqtts://broker.example.net", tmp_path, fails)
    assert {address for address, _, _ in asked} == {"203.0.113.5"}
    said = capsys.readouterr().out
    assert "segwatch.example.net" in said
    assert (error.args[-1] if error.args else "no answer within 3 s") in said
