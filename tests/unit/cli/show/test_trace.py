"""`explain --trace` as a person reads it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from msgspec.structs import replace

from cli.commands.explain import command
from cli.show.render import Paint
from cli.show.trace import traces
from coordinator.api.responses.packets import Trace, TraceHop
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate


def hop(ttl: int, address: str | None = None, reason: str = "no-response", rtt_ms: float | None = None) -> TraceHop:
    return TraceHop(ttl=ttl, address=address, reason=reason, rtt_ms=rtt_ms, sent=3, answers=0)


TRACE = Trace(
    round="1A20",
    agent="dev-1",
    source_address="10.10.0.10",
    address="10.30.0.21",
    protocol="tcp",
    port=5000,
    via="eth0 10.10.0.1",
    packets=46,
    seconds=3.31,
    hops=(hop(1, "10.10.0.1", "ttl-exceeded", rtt_ms=0.4021), *(hop(ttl) for ttl in range(2, 17))),
    reached=None,
    stops_after="10.10.0.1",
    witness=None,
    text="it stops at 10.10.0.1 (hop 1) or behind it: from hop 2 on nothing answers",
)


def test_hops_are_lines_and_silent_ones_are_folded() -> None:
    assert traces(TRACE, Paint(color=False)) == [
        "trace      it stops at 10.10.0.1 (hop 1) or behind it: from hop 2 on nothing answers",
        "   TTL   from       after     says",
        "   1     10.10.0.1  0.402 ms  ICMP TTL exceeded",
        "   2-16                       silence (45 packets)",
        "   round 1A20: 46 packets from 10.10.0.10 via eth0 10.10.0.1, 3.3 s",
    ]


def test_a_silent_hop_between_others_and_two_ways() -> None:
    hops = (hop(1), hop(2, "10.40.0.2", "ttl-exceeded"), hop(2, "10.40.0.3", "ttl-exceeded"), hop(3, "x", "strange"))
    lines = traces(replace(TRACE, hops=hops, via=None), Paint(color=False))
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["1", "silence"],
        ["2", "10.40.0.2"],
        ["2", "10.40.0.3"],
        ["3", "x"],
    ]
    assert lines[5].endswith("strange")


def test_the_command_asks_for_the_trace_of_a_finding_or_a_cell(tmp_path: Path) -> None:
    fake = FakeCoordinator(Estate())
    fake.trace = TRACE
    name = fake.estate.book.findings[0].id
    cell = ["--from", "dev-1", "--to", "10.30.0.21", "--port", "tcp/5000"]
    with served(fake, tmp_path / "state"):
        for asked in ([name], cell):
            result = CliRunner().invoke(command, [*asked, "--trace", "--state-dir", str(tmp_path / "state")])
            assert result.exit_code == 0, result.output
            assert "2-16" in result.stdout
            assert max(map(len, result.stdout.splitlines())) <= 100
        data = CliRunner().invoke(command, [*cell, "--trace", "-o", "json", "--state-dir", str(tmp_path / "state")])
        assert json.loads(data.stdout)["trace"]["packets"] == 46
    asked_for = {"from": "dev-1", "to": "10.30.0.21", "port": "tcp/5000"}
    assert fake.posted == [("trace", {"finding": name}), ("trace", asked_for), ("trace", asked_for)]


def test_a_coordinator_that_cannot_says_why(tmp_path: Path) -> None:
    fake = FakeCoordinator(Estate())
    with served(fake, tmp_path / "state"):
        result = CliRunner().invoke(command, ["F-none", "--trace", "--state-dir", str(tmp_path / "state")])
    assert result.exit_code == 2
    assert "no finding F-none" in result.output
