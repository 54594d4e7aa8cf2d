"""What the two sides of a try hand each other: whole, or refused in words."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from reachability.observation import KernelFlow, Observation, SourceReport
from reachability.ports import PortSet, text_of
from reachability.verdict import Evidence
from reachability.vocabulary import Protocol, Reason, State
from wire.envelope import BadMessage
from wire.trial import (
    LINE,
    MOST_PORTS,
    SENT,
    TOLD,
    VERSION,
    Asked,
    Concluded,
    Line,
    Seal,
    Sent,
    TrialCell,
    digest,
    from_text,
    read_line,
    to_text,
)

A_TERMINALS_LINE = 4095  # characters, in canonical mode (termios(3))
MADE = Line(
    VERSION,
    "0a1b2c3d",
    bytes(range(16)),
    8884,
    50000,
    (Asked("10.30.0.10", PortSet.parse("22,80-82"), PortSet.parse("53")), Asked("fd00:30::10", icmp=True)),
)
REPORT = SourceReport(round="0a1b2c3d", agent="source", packets=3)


def test_both_sides_make_the_same_targets_of_a_line() -> None:
    read = read_line(f"  {MADE.text()}\n")
    assert read == MADE
    assert read.spec() == MADE.spec()
    assert [(t.address, t.protocol, text_of(t.ports)) for t in read.targets()] == [
        ("10.30.0.10", Protocol.TCP, "22,80-82"),
        ("10.30.0.10", Protocol.UDP, "53"),
        ("fd00:30::10", Protocol.ICMP, None),
    ]
    assert {(c.address, c.protocol, c.port) for c in read.controls()} == {
        ("10.30.0.10", Protocol.TCP, 8884),
        ("10.30.0.10", Protocol.UDP, 8884),
    }


def test_every_altered_or_missing_character_of_a_line_is_noticed() -> None:
    text = MADE.text()
    for at in range(len(LINE), len(text)):
        other = "A" if text[at] != "A" else "B"
        for wrong in (text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :], text[:at]):
            with pytest.raises(BadMessage):
                read_line(wrong)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (msgspec.structs.replace(MADE, version=VERSION + 1), "version"),
        (
            msgspec.structs.replace(MADE, asked=(Asked("10.30.0.10", PortSet.parse(f"1-{MOST_PORTS + 1}")),)),
            "more than",
        ),
        (msgspec.structs.replace(MADE, asked=()), "no port"),
        (msgspec.structs.replace(MADE, asked=(Asked("a.name.example", PortSet.parse("22")),)), "address"),
        (msgspec.structs.replace(MADE, asked=(Asked("10.30.0.10", cast("PortSet", "99999")),)), "cannot be read"),
        (msgspec.structs.replace(MADE, meet=0), "port"),
        (msgspec.structs.replace(MADE, key=b"short"), "no port"),
    ],
)
def test_a_line_that_asks_too_much_or_nothing_is_refused(line: Line, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_line(line.text())


def test_reports_open_with_the_line_that_they_belong_to_and_no_other() -> None:
    sent = Sent(report=REPORT)
    sealed = Seal(MADE).close(sent)
    assert Seal(MADE).sent(sealed) == sent
    for other in (msgspec.structs.replace(MADE, key=bytes(16)), msgspec.structs.replace(MADE, round="ffffffff")):
        with pytest.raises(BadMessage, match="another try"):
            Seal(other).sent(sealed)
    with pytest.raises(BadMessage, match="another try"):
        Seal(MADE).sent(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_a_report_is_not_taken_for_the_answer_to_it() -> None:
    told = Concluded(of=digest(REPORT), cells=())
    assert Seal(MADE).told(Seal(MADE).close(told)) == told
    with pytest.raises(BadMessage):
        Seal(MADE).told(Seal(MADE).close(Sent(report=REPORT)))
    with pytest.raises(BadMessage):
        Seal(MADE).sent(Seal(MADE).close(told))
    with pytest.raises(BadMessage, match=r"begins with 'told1\.'"):
        from_text(TOLD, to_text(SENT, Seal(MADE).close(Sent(report=REPORT))))


def test_the_largest_report_and_its_answer_fit_a_terminals_line() -> None:
    """No two ports are alike, each speaks a banner of its own, and each was tried twice through the kernel."""
    ports = range(1001, 1001 + 2 * MOST_PORTS, 2)
    address, source = "fd00:3000:1234:5678::10", "fd00:1000:1234:5678::10"

    def note(port: int) -> str:
        return f"{digest(SourceReport(round=str(port), agent='')).hex()} {port} (4096 bytes)"

    observations = tuple(
        Observation(
            target=1, source_address=source, address=address, protocol=Protocol.TCP, state=State.OPEN, reason=Reason.SYN_ACK,
            ports=PortSet.of([port]), kind="tcp", way="raw+connect", kernel="open", via="enp0s31f6 fd00:1000:1234:5678::1", sent=8,
            covered=8, flows=8, hops=3, rtt_ms=port / 7, said=note(port)[:16], note=note(port),
        )
        for port in ports
    )  # fmt: skip
    flows = tuple(
        KernelFlow(
            address=address, protocol=Protocol.TCP, port=port, source_address=source, source_port=32768 + port * tries
        )
        for port in ports
        for tries in (7, 11)
    )
    report = SourceReport(round="0a1b2c3d", agent="source", observations=observations, kernel_flows=flows)
    cells = tuple(
        TrialCell(
            source_address=source, address=address, protocol=Protocol.TCP, ports=PortSet.of([port]),
            evidence=Evidence(
                protocol=Protocol.TCP, state=State.OPEN, reason=Reason.SYN_ACK, said=note(port)[:16], note=note(port),
                rtt_ms=port / 7, came_from=source, via="enp0s31f6 fd00:1000:1234:5678::1", sent=8, covered=8, arrived=8,
            ),
        )
        for port in ports
    )  # fmt: skip
    assert len(to_text(SENT, Seal(MADE).close(Sent(report=report)))) < A_TERMINALS_LINE
    assert len(to_text(TOLD, Seal(MADE).close(Concluded(of=digest(report), cells=cells)))) < A_TERMINALS_LINE
