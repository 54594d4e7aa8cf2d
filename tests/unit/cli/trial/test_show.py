"""What a try says of its evidence, and what its exit code is."""

from __future__ import annotations

from typing import Any

import pytest

from cli.show.render import Paint
from cli.trial.child import Outcome
from cli.trial.show import exit_code, listening, report, summary
from reachability.arrival import ArrivalRow, WitnessReport
from reachability.ports import PortSet
from reachability.verdict import Evidence
from reachability.vocabulary import Arrival, Canary, Protocol, Reason, State
from wire.trial import TrialCell

PLAIN = Paint(color=False)
SENT: dict[str, Any] = {
    "protocol": Protocol.TCP, "state": State.FILTERED, "reason": Reason.NO_RESPONSE, "way": "raw", "via": "eth0 10.10.0.1",
    "sent": 8, "covered": 8, "flows": 8,
}  # fmt: skip
DROPPED = Evidence(**SENT, arrival=Arrival.NOT_SEEN, control=True, control_by="meeting 10.30.0.10 answered", loss=0.001)
OPEN = Evidence(
    **{**SENT, "state": State.OPEN, "reason": Reason.SYN_ACK}, arrival=Arrival.SEEN, arrived=1, canary=Canary.CLEAR
)
ONE_WAY = Evidence(**SENT, arrival=Arrival.SEEN, arrived=8, answered=True, came_from="10.10.0.10")
UNCONTROLLED = Evidence(**SENT, arrival=Arrival.NOT_SEEN)


def cell(evidence: Evidence, ports: str = "80") -> TrialCell:
    return TrialCell(
        source_address="10.10.0.10",
        address="10.30.0.10",
        protocol=evidence.protocol,
        ports=PortSet.parse(ports),
        evidence=evidence,
    )


def both(*cells: TrialCell) -> Outcome:
    return Outcome(cells=cells, complete=True)


@pytest.mark.parametrize(
    ("evidence", "code", "glyph", "words"),
    [
        (DROPPED, 0, "■", "blocked, proof: witnessed (table row 15)"),
        (OPEN, 1, "✗", "reachable, proof: replied (table row 1)"),
        (ONE_WAY, 1, "✗", "one-way, proof: witnessed (table row 10)"),
        (UNCONTROLLED, 3, "?", "unknown, no-source-control (table row 18)"),
    ],
)
def test_a_verdict_with_its_proof_and_exit_code(evidence: Evidence, code: int, glyph: str, words: str) -> None:
    body = summary(both(cell(evidence)))
    assert exit_code(body) == code
    text = report(body, PLAIN)
    assert f"{glyph} 10.30.0.10 tcp/80  {words}" in text
    assert ("control: the meeting port of 10.30.0.10 answered" in " ".join(text)) is (evidence is DROPPED)
    assert any("8 copies sent from 10.10.0.10 via eth0 10.10.0.1" in line for line in text)


def test_what_crossed_comes_first_and_decides() -> None:
    body = summary(both(cell(DROPPED, "1-5"), cell(UNCONTROLLED, "6"), cell(OPEN, "7-8")))
    assert exit_code(body) == 1
    text = report(body, PLAIN)
    assert text[0] == "✗ 8 ports, 10.10.0.10 → 10.30.0.10: 2 crossed, 1 unproven, 5 shown to be closed"
    verdicts = [line.split()[2] for line in text[1:] if line[:1] in "✗?■" and line]
    assert verdicts == ["tcp/7-8", "tcp/6", "tcp/1-5"]
    assert exit_code(summary(both(cell(DROPPED), cell(UNCONTROLLED)))) == 3


def test_what_would_settle_it_is_a_trys_own_way() -> None:
    text = " ".join(report(summary(both(cell(UNCONTROLLED))), PLAIN))
    assert "--control HOST:PORT" in text
    assert "agent" not in text.split("settle")[1]


def test_one_side_alone_never_says_that_a_port_is_closed() -> None:
    for reason in (Reason.NO_RESPONSE, Reason.ADMIN_PROHIBITED, Reason.HOST_UNREACH):
        alone = Evidence(
            **{**SENT, "reason": reason}, control=True, refused_by="10.10.0.1", loss=0.001, canary=Canary.CLEAR
        )
        body = summary(Outcome(cells=(cell(alone),)))
        assert exit_code(body) == 3
        assert "carry the source's line" in body["cells"][0]["settle"]
        assert "the other's report is not here" in report(body, PLAIN)[0]
    reset = Evidence(**{**SENT, "state": State.CLOSED, "reason": Reason.RESET}, hops=1, host_hops=3, control=True)
    assert exit_code(summary(Outcome(cells=(cell(reset),)))) == 3


def test_the_destination_alone_tells_what_arrived() -> None:
    def arrived(*, answered: bool) -> Outcome:
        row = ArrivalRow(
            target=1,
            address="10.30.0.10",
            protocol=Protocol.TCP,
            copies=8,
            ports=PortSet.parse("80"),
            answered=answered,
            came_from="10.10.0.10",
        )
        return Outcome(witness=WitnessReport(round="r", agent="destination", arrivals=(row,)))

    said = report(summary(arrived(answered=True)), PLAIN)
    assert "✗ 10.30.0.10 tcp/80  8 copies came from 10.10.0.10; the host answered: it is not closed" in said
    assert exit_code(summary(arrived(answered=True))) == 1
    assert exit_code(summary(arrived(answered=False))) == 3, "the host's own firewall may have stopped it"
    nothing = summary(Outcome(witness=WitnessReport(round="r", agent="destination")))
    assert exit_code(nothing) == 3
    assert report(nothing, PLAIN) == [
        "? nothing is proven; of one side alone: the other's report is not here",
        "",
        "settle     carry the source's line to the destination, and its answer back: only both reports",
        "           together tell more",
    ]


def test_it_fits_its_width_and_says_what_a_side_lacks() -> None:
    six = TrialCell(
        source_address="fd00:1000:1234:5678::10", address="fd00:3000:1234:5678::10", protocol=Protocol.UDP,
        ports=PortSet.parse("53,1000-1010"), evidence=Evidence(**{**SENT, "protocol": Protocol.UDP}, no_witness_why="this agent lacks CAP_NET_RAW"),
    )  # fmt: skip
    body = summary(Outcome(cells=(six, cell(DROPPED)), complete=True, lacks="this process lacks CAP_NET_RAW"))
    lines = report(body, PLAIN) + listening(
        ["10.30.0.10 tcp/22"], ["no capture: this agent lacks CAP_NET_RAW"], 8884, PLAIN
    )
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("lacks      this process lacks CAP_NET_RAW") for line in lines)
